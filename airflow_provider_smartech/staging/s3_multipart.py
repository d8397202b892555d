"""Writes one S3 object of unknown length while its content is produced, with a few bounded buffers."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from airflow_provider_smartech.staging.s3_errors import storage_errors

# S3 accepts 10,000 parts of at least 5 MiB. The part size grows by 5 MiB after every 2,000 parts: about 150 GiB in all.
PART_BYTES = 5 << 20
PARTS_OF_A_SIZE = 2000
PARTS_UNDER_WAY = 2


class MultipartUpload:
    """An object that is written in parts; it is not visible before ``complete``.

    While one part is filled, at most ``PARTS_UNDER_WAY`` others are sent, each in a thread.

    :param arguments: S3 arguments for the object besides its name, such as ``ServerSideEncryption``.
    """

    def __init__(self, client: Any, bucket: str, key: str, arguments: dict[str, Any]) -> None:
        self.bytes = 0
        self._client = client
        self._object = {"Bucket": bucket, "Key": key}
        self._arguments = arguments
        self._buffer = bytearray()
        self._upload: dict[str, str] = {}
        self._parts: list[dict[str, Any]] = []
        self._sending: deque[Future[dict[str, Any]]] = deque()
        self._threads = ThreadPoolExecutor(PARTS_UNDER_WAY, thread_name_prefix="multipart")

    def write(self, content: bytes | bytearray | memoryview) -> None:
        """Write the next bytes.

        :raises ContactsStorageError: S3 did not accept a part.
        """
        self.bytes += len(content)
        self._buffer += content
        if len(self._buffer) >= PART_BYTES * (1 + len(self._parts) // PARTS_OF_A_SIZE):
            self._send()

    def complete(self) -> None:
        """Make the object visible.

        :raises ContactsStorageError: S3 did not accept all of it.
        """
        with storage_errors(self._object):
            if not self._upload:
                self._client.put_object(**self._object, **self._arguments, Body=self._buffer)
            else:
                if self._buffer:
                    self._send()
                self._wait(0)
                parts = {"Parts": self._parts}
                self._client.complete_multipart_upload(**self._object, **self._upload, MultipartUpload=parts)
        self._threads.shutdown()

    def abort(self) -> None:
        """Remove all parts of an object that is not complete.

        :raises ContactsStorageError: S3 did not remove the parts.
        """
        # A part that arrives after the abort would stay.
        self._threads.shutdown(cancel_futures=True)
        if self._upload:
            with storage_errors(self._object):
                self._client.abort_multipart_upload(**self._object, **self._upload)

    def _send(self) -> None:
        with storage_errors(self._object):
            if not self._upload:
                answer = self._client.create_multipart_upload(**self._object, **self._arguments)
                self._upload = {"UploadId": answer["UploadId"]}
            self._wait(PARTS_UNDER_WAY - 1)
            number = len(self._parts) + len(self._sending) + 1
            self._sending.append(self._threads.submit(self._send_part, number, self._buffer))
        self._buffer = bytearray()

    def _wait(self, left: int) -> None:
        while len(self._sending) > left:
            self._parts.append(self._sending.popleft().result())

    def _send_part(self, number: int, content: bytearray) -> dict[str, Any]:
        answer = self._client.upload_part(**self._object, **self._upload, PartNumber=number, Body=content)
        return {"PartNumber": number, "ETag": answer["ETag"]}
