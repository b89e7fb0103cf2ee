"""boto3."""

import boto3
from botocore.config import Config
from calls import KEY, run


def make(url):
    def client(service):
        return boto3.client(
            service,
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key=KEY,
            config=Config(s3={"addressing_style": "path"}),
        )

    s3, dynamodb, sqs, secrets = map(client, ("s3", "dynamodb", "sqs", "secretsmanager"))
    queue = "http://127.0.0.1/1/queue"
    key = {"id": {"S": "1"}}

    def got(key, **range_):
        return s3.get_object(Bucket="b", Key=key, **range_)["Body"].read()

    return {
        "s3 put": lambda: s3.put_object(Bucket="b", Key="a/b c.txt", Body=b"hello")["ETag"],
        "s3 get": lambda: got("a/b c.txt"),
        "s3 list": lambda: s3.list_objects_v2(Bucket="b", Prefix="a/")["KeyCount"],
        "s3 range": lambda: got("r", Range="bytes=0-4"),
        "dynamodb get": lambda: dynamodb.get_item(TableName="t", Key=key)["Item"],
        "dynamodb put": lambda: dynamodb.put_item(TableName="t", Item=key)["ResponseMetadata"][
            "HTTPStatusCode"
        ],
        "sqs send": lambda: sqs.send_message(QueueUrl=queue, MessageBody="hello")["MessageId"],
        "sqs receive": lambda: sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"],
        "secret": lambda: secrets.get_secret_value(SecretId="db")["Name"],
        "new secret": lambda: secrets.create_secret(Name="db", SecretString="x")["Name"],
    }


run(make)
