"""Fixtures of the tests of stages."""

import boto3
import pytest
from server import free_port, serve


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """Environment variables for an S3 server with the bucket `results`."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "config").touch()
    variables = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "config"),
    }
    port = free_port()
    command = ["moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with serve(folder, command, port, path="/moto-api/", **variables) as address:
        boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        ).create_bucket(Bucket="results")
        yield variables | {"AWS_ENDPOINT_URL": address}
