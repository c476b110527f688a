"""`aws.sh` and the bucket as a mirror: the real AWS CLI against a moto server on this machine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.train.cloud.machines import Machine, terminate
from tests.train.cloud.test_cloudformation import ACCOUNT, REGION, UNSUPPORTED, template

COMMAND = REPOSITORY / "train" / "cloud" / "aws.sh"


class Server:
    """AWS, as far as moto goes; the CLI is told to find it here."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        import boto3

        # tests run in the environment that has the AWS CLI, whose folder need not be on PATH
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "PATH": path,
            "PYTHONWARNINGS": "",
        }
        self._boto3, self._endpoint, self.folder = boto3, endpoint, folder

    def client(self, service: str) -> Any:
        return self._boto3.client(
            service,
            endpoint_url=self._endpoint,
            region_name=REGION,
            aws_access_key_id="none",
            aws_secret_access_key="none",
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments],
            env=self.environment | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from moto.server import ThreadedMotoServer
    from moto.ssm.models import ssm_backends

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", UNSUPPORTED, UserWarning)
        served = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        served.start()
        host, port = served.get_host_and_port()
        server = Server(f"http://{host}:{port}", tmp_path_factory.mktemp("aws"))
        server.client("ssm").put_parameter(Name="/image", Value="ami-0123456789abcdef0", Type="String")
        parameters = ssm_backends[ACCOUNT][REGION]._parameters
        parameters[template()["Parameters"]["ImageId"]["Default"]] = parameters["/image"]
        parameters["ami-0123456789abcdef0"] = parameters["/image"]  # moto looks an unchanged parameter up a second time
        yield server
        served.stop()


@pytest.mark.timeout(900)  # the AWS CLI starts seventeen times: seconds here, minutes on a machine that is full
def test_one_run_from_start_to_fetch(aws: Server) -> None:
    """moto starts an instance that does nothing; what it would leave in the bucket is put there by hand."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("the history of this checkout is not here, and aws.sh sends the commit")
    done = aws.run("start", "lite0", "--model", "resnet50", "--epochs", "3", DATA="garbage data/mine", HOURS="2")
    assert done.returncode == 0, done.stdout + done.stderr
    [stack] = aws.client("cloudformation").describe_stacks()["Stacks"]
    given = {item["ParameterKey"]: item["ParameterValue"] for item in stack["Parameters"]}
    assert given["TrainFlags"] == "--model resnet50 --epochs 3"
    assert (given["DataSets"], given["Source"]) == ("garbage data/mine", "source/lite0.tar.gz")
    assert given["Deadline"] in done.stdout
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert given["Commit"].removesuffix("+") == head.stdout.strip()

    s3 = aws.client("s3")
    [bucket] = [item["Name"] for item in s3.list_buckets()["Buckets"]]
    body = s3.get_object(Bucket=bucket, Key="source/lite0.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert {"train/run.py", "train/cloud/run_or_resume.sh", "constraints.txt"} <= set(archive.getnames())
        assert archive.getmember("train/cloud/run_or_resume.sh").mode & 0o111

    again = aws.run("start", "lite1")
    assert again.returncode == 1
    assert "has an instance already" in again.stderr
    s3.put_object(Bucket=bucket, Key="runs/lite0/plots/curves.png", Body=b"a plot")
    shown = aws.run("status")
    assert "running" in shown.stdout
    assert "lite0/" in shown.stdout

    assert aws.run("stop", "lite0").returncode == 0
    [group] = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert (group["DesiredCapacity"], group["Instances"]) == (0, [])
    assert aws.run("fetch", "lite0").returncode == 0
    assert (aws.folder / "runs" / "lite0" / "plots" / "curves.png").read_bytes() == b"a plot"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "train/cloud/aws.sh start RUN"),
        (("start",), "train/cloud/aws.sh start RUN"),
        (("begin", "lite0"), "train/cloud/aws.sh start RUN"),
        (("start", "Lite_0"), "a run is named by small letters, digits and hyphens"),
        (("start", "runs/lite0"), "a run is named by small letters, digits and hyphens"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_made(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = subprocess.run([COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert said in done.stderr


def test_run_goes_on_from_a_bucket(aws: Server, tmp_path: Path) -> None:
    aws.client("s3").create_bucket(Bucket="mirror", CreateBucketConfiguration={"LocationConstraint": REGION})
    place = "s3://mirror/runs/lite0"
    first = Machine(tmp_path / "first", Path(), ["--hold", "3"], **aws.environment, MIRROR_S="100")
    first.environment["MIRROR"] = place
    code, output = first.stop_at("epoch 3", terminate)
    assert code == 143, output
    second = Machine(tmp_path / "second", Path(), **aws.environment, MIRROR_S="100")
    second.environment["MIRROR"] = place
    code, output = second.finish()
    assert code == 0, output
    assert f"brought {second.run} back from {place}" in output
    assert "begins after epoch 2" in output
    found = aws.client("s3").list_objects_v2(Bucket="mirror")["Contents"]
    names = {item["Key"].removeprefix("runs/lite0/") for item in found}
    assert names == {"checkpoint.pt", "config.toml", "model.safetensors", "plots/curve.txt", ".finished"}
