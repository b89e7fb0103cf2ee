"""google-cloud-storage."""

from calls import run
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage


def make(url):
    client = storage.Client(
        project="project", credentials=AnonymousCredentials(), client_options={"api_endpoint": url}
    )
    bucket = client.bucket("box")
    return {
        "upload": lambda: bucket.blob("a.txt").upload_from_string("hello"),
        "download": lambda: bucket.blob("a.txt").download_as_bytes(),
        "list": lambda: [one.name for one in client.list_blobs("box", prefix="a")],
        "bucket": lambda: client.get_bucket("box").name,
    }


run(make)
