// Airflow's UI has a time zone that its user may choose; without a choice, it is the browser's.
const inTheZoneOfTheReader = () => {
  let chosen;
  let format;
  const style = { dateStyle: "short", timeStyle: "medium" };
  // Swedish, because Swedes write times as ISO 8601 does.
  try {
    chosen = JSON.parse(localStorage.getItem("timezone")) ?? undefined;
    format = new Intl.DateTimeFormat("sv-SE", { ...style, timeZone: chosen });
  } catch {
    chosen = undefined;
    format = new Intl.DateTimeFormat("sv-SE", style);
  }
  for (const time of document.querySelectorAll("time")) time.textContent = format.format(new Date(time.dateTime));
  for (const zone of document.querySelectorAll(".zone")) zone.textContent = chosen ?? format.resolvedOptions().timeZone;
};
inTheZoneOfTheReader();
addEventListener("storage", (event) => { if (event.key === "timezone") inTheZoneOfTheReader(); });

// As a part of the page, the chart has names for its bars, and the page's theme.
const image = document.querySelector(".chart img");
const becomePart = async () => {
  const answer = await fetch(image.currentSrc, { cache: "force-cache" });
  // Only the page's own style may apply, and it has all of the chart's.
  const source = (await answer.text()).replace(/<style>.*<\/style>/s, "");
  const chart = new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
  if (!answer.ok || chart.localName !== "svg") return;
  image.closest("picture").replaceWith(chart);
};
if (image?.complete && image.naturalWidth) becomePart();
else image?.addEventListener("load", becomePart);

// What scrolls must be reachable by keyboard, and only then.
const tables = document.querySelectorAll(".scroll");
const scrolls = new ResizeObserver(() => {
  for (const table of tables) {
    if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
    else table.removeAttribute("tabindex");
  }
});
for (const table of tables) scrolls.observe(table);

// Airflow shows this page in a frame that cannot open other Airflow pages, and has its own theme.
const outside = window.parent === window ? null : window.parent.document;
if (outside) {
  const follow = () => { document.documentElement.style.colorScheme = outside.documentElement.style.colorScheme; };
  follow();
  new MutationObserver(follow).observe(outside.documentElement, { attributes: true, attributeFilter: ["style"] });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[target=_top]");
    if (!link) return;
    event.preventDefault();
    const twin = outside.createElement("a");
    twin.href = link.href;
    outside.body.append(twin);
    twin.click();
    twin.remove();
  });
}
