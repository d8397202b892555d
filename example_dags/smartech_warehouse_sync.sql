-- The contacts who agreed to receive messages. Jinja works here: {{ run_id }}
SELECT email, first_name, last_name, city, birthday, points
FROM contacts
WHERE agreed = 1
ORDER BY email
