"""azure-storage-blob."""

import base64

from azure.storage.blob import BlobServiceClient
from calls import run


def make(url):
    key = base64.b64encode(b"k" * 64).decode()
    client = BlobServiceClient(
        f"{url}/account", credential={"account_name": "account", "account_key": key}
    )
    container = client.get_container_client("box")
    blob = container.get_blob_client("a b.txt")
    return {
        "container": lambda: container.create_container()["etag"],
        "upload": lambda: blob.upload_blob(b"hello", overwrite=True)["etag"],
        "download": lambda: blob.download_blob().readall(),
        "properties": lambda: blob.get_blob_properties().size,
        "list": lambda: [one.name for one in container.list_blobs(name_starts_with="a")],
        "metadata": lambda: blob.set_blob_metadata({"one": "1"})["etag"],
    }


run(make)
