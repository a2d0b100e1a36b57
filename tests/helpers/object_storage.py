"""A server of objects as S3 serves them, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE", "AWS_EC2_METADATA_DISABLED": "true",
}  # fmt: skip


@contextmanager
def object_server() -> Iterator[str]:
    """Serve objects; yields host and port. It answers in a thread: what GDAL reads of it, another process has to read."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def upload(client: Any, folder: Path, bucket: str, prefix: str) -> None:
    """Put the files of a folder into a bucket of a boto3 client."""
    for path in folder.iterdir():
        client.put_object(Bucket=bucket, Key=f"{prefix}/{path.name}", Body=path.read_bytes())


def environment_of(server: str) -> dict[str, str]:
    """Return what boto3 and GDAL need to know of a server."""
    return ENVIRONMENT | {"AWS_ENDPOINT_URL": f"http://{server}", "AWS_S3_ENDPOINT": server}
