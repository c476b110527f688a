"""The CloudFormation template: linted, and its stack made in moto, which stands in for AWS.

moto makes no AWS::S3::BucketPolicy, no AWS::Scheduler::Schedule and no public access block from a template: these are
resolved here and given to moto's own S3 and Scheduler, which check them. It does not version a bucket either, and a
security group keeps its way out to everywhere, which AWS takes away where a template names others. It waits for no
signal, starts no machine and enforces no policy: `policies.allows` reads the roles' policies instead.
"""

from __future__ import annotations

import ast
import base64
import json
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.train.cloud.policies import allows, too_broad
from tools.embed_user_data import SCRIPT, TEMPLATE, embedded
from train.cli import parse_train

TEXT = TEMPLATE.read_text(encoding="utf-8")
REGION, ACCOUNT = "eu-central-1", "123456789012"
DEADLINE = "2031-01-31T18:00:00"
USER_DATA_LIMIT = 16 * 1024
"""Bytes that EC2 takes, before base64."""
TEMPLATE_LIMIT = 51_200
"""Bytes that CloudFormation takes without a bucket to put the template into."""
UNSUPPORTED = "Tried to parse AWS::"


@cache
def template() -> Mapping[str, Any]:
    from cfnlint.decode.cfn_yaml import loads

    return loads(TEXT)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack in moto."""

    aws: ModuleType
    name: str
    resources: dict[str, str]
    outputs: dict[str, str]

    def client(self, service: str) -> Any:
        return self.aws.client(service, region_name=REGION)

    def statements(self, role: str) -> list[dict[str, Any]]:
        iam, name = self.client("iam"), self.resources[role]
        assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
        names = iam.list_role_policies(RoleName=name)["PolicyNames"]
        documents = [iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] for policy in names]
        # moto keeps a template's inline policy as Python writes it, not as JSON
        documents = [ast.literal_eval(text) if isinstance(text, str) else text for text in documents]
        return [statement for document in documents for statement in document["Statement"]]

    def resolved(self, value: Any) -> Any:
        """The value with the intrinsic functions worked out that BucketPolicy and DeadlineSchedule use."""
        known = {"AWS::StackName": self.name, "AWS::Partition": "aws", "RunName": "lite0", "Deadline": DEADLINE}
        known |= {"Bucket.Arn": f"arn:aws:s3:::{self.resources['Bucket']}", **self.resources}
        known["DeadlineRole.Arn"] = f"arn:aws:iam::{ACCOUNT}:role/{self.resources.get('DeadlineRole')}"
        if isinstance(value, list):
            return [self.resolved(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        match list(value.items()):
            case [("Fn::Sub", text)]:
                return re.sub(r"\$\{([^}]+)\}", lambda found: known[found[1]], text)
            case [("Ref", name)]:
                return known[name]
            case [("Fn::GetAtt", [*path])]:
                return known[".".join(path)]
        return {key: self.resolved(item) for key, item in value.items()}


@pytest.fixture(scope="module")
def aws() -> Iterator[ModuleType]:
    """boto3, talking to moto."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ACCESS_KEY_ID", "none"), ("SECRET_ACCESS_KEY", "none"), ("DEFAULT_REGION", REGION)):
            patch.setenv(f"AWS_{name}", value)
        import boto3
        from moto import mock_aws
        from moto.ssm.models import ssm_backends

        with mock_aws():
            boto3.client("ssm").put_parameter(Name="/image", Value="ami-0123456789abcdef0", Type="String")
            parameters = ssm_backends[ACCOUNT][REGION]._parameters  # public ones cannot be put, and this one is missing
            parameters[template()["Parameters"]["ImageId"]["Default"]] = parameters["/image"]
            yield boto3


def make_stack(aws: ModuleType, name: str, **parameters: str) -> Stack:
    ec2, cloudformation = aws.client("ec2"), aws.client("cloudformation")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    parameters |= {"VpcId": vpc, "SubnetIds": ",".join(subnets)}
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", UNSUPPORTED, UserWarning)
        cloudformation.create_stack(
            StackName=name, TemplateBody=TEXT, Parameters=given, Capabilities=["CAPABILITY_IAM"]
        )
        found = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])
    return Stack(
        aws=aws,
        name=name,
        resources={r["LogicalResourceId"]: r["PhysicalResourceId"] for r in found if "LogicalResourceId" in r},
        outputs={output["OutputKey"]: output["OutputValue"] for output in outputs},
    )


@pytest.fixture(scope="module")
def stack(aws: ModuleType) -> Stack:
    return make_stack(aws, "bin", RunName="lite0", Deadline=DEADLINE, Commit="0123abc")


def lint(text: str) -> list[str]:
    from cfnlint.api import ManualArgs
    from cfnlint.api import lint as run

    found = run(text, config=ManualArgs(regions=[REGION, "us-east-1"]))
    return [f"{match.rule.id} line {match.linenumber}: {match.message}" for match in found]


def test_linter_finds_nothing() -> None:
    assert lint(TEXT) == []


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("HttpTokens: required", "HttpTokens: always", "E3030"),
        ("!GetAtt InstanceProfile.Arn", "!GetAtt InstanceProfil.Arn", "E1010"),
        ("      Roles: [!Ref InstanceRole]\n", "      Role: [!Ref InstanceRole]\n", "E3002"),
    ],
)
def test_linter_finds_what_is_wrong(before: str, after: str, rule: str) -> None:
    broken = TEXT.replace(before, after)
    assert broken != TEXT
    assert any(problem.startswith(rule) for problem in lint(broken)), lint(broken)


def test_template_carries_the_script_as_it_is(stack: Stack) -> None:
    """A change of aws_instance.sh needs: python tools/embed_user_data.py."""
    script = SCRIPT.read_text(encoding="utf-8")
    assert embedded(TEXT, script) == TEXT
    assert embedded(TEXT, script + "\necho more\n") != TEXT
    data = base64.b64decode(launched(stack)["UserData"]).decode()
    header, _, rest = data.partition("DEADLINE=")
    assert rest == f"'{DEADLINE}'\n{script}"
    settings = dict(line.split("=", 1) for line in shlex.split(header, comments=True))
    assert settings == {
        "STACK": "bin",
        "REGION": REGION,
        "LOG_GROUP": stack.outputs["LogGroup"],
        "BUCKET": stack.outputs["BucketName"],
        "RUN_NAME": "lite0",
        "SOURCE": "source/smartbin.tar.gz",
        "COMMIT": "0123abc",
        "DATA": "garbage",
        "FLAGS": "--model efficientnet_lite0 --weights imagenet --epochs 20",
    }
    assert set(settings) | {"DEADLINE"} == set(re.search(r"settings: ([A-Z_ ]+)", script)[1].split())
    assert len(data) < USER_DATA_LIMIT - 2000  # room for long flags
    assert len(TEXT.encode()) < TEMPLATE_LIMIT


def launched(stack: Stack) -> Mapping[str, Any]:
    versions = stack.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=stack.resources["LaunchTemplate"], Versions=["$Latest"]
    )
    return versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]  # type: ignore[no-any-return]


def test_instance_is_closed_encrypted_and_ends_on_shutdown(stack: Stack) -> None:
    data = launched(stack)
    assert data["ImageId"] == "ami-0123456789abcdef0"
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert (data["MetadataOptions"]["HttpTokens"], data["MetadataOptions"]["HttpPutResponseHopLimit"]) == (
        "required",
        1,
    )
    assert "KeyName" not in data
    [disk] = data["BlockDeviceMappings"]
    assert (disk["Ebs"]["Encrypted"], disk["Ebs"]["VolumeType"], disk["Ebs"]["DeleteOnTermination"]) == (
        True,
        "gp3",
        True,
    )
    [interface] = data["NetworkInterfaces"]
    groups = stack.client("ec2").describe_security_groups(GroupIds=interface["Groups"])["SecurityGroups"]
    assert [group["IpPermissions"] for group in groups] == [[]]
    ways_out = template()["Resources"]["SecurityGroup"]["Properties"]["SecurityGroupEgress"]
    assert [(way["FromPort"], way["ToPort"], way["IpProtocol"]) for way in ways_out] == [
        (443, 443, "tcp"),
        (80, 80, "tcp"),
    ]


def test_group_holds_one_spot_instance_and_lets_it_end(stack: Stack) -> None:
    """With the very calls that the script, the schedule and the output `Stop` make."""
    scaling = stack.client("autoscaling")

    def group() -> Mapping[str, Any]:
        return scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["bin-lite0"])["AutoScalingGroups"][0]  # type: ignore[no-any-return]

    before = group()
    assert (before["MinSize"], before["MaxSize"], before["DesiredCapacity"]) == (0, 1, 1)
    assert before["MixedInstancesPolicy"]["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 0
    types = [override["InstanceType"] for override in before["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]]
    assert types == ["g6.xlarge", "g5.xlarge"]
    assert before["Tags"][0]["PropagateAtLaunch"]
    [instance] = before["Instances"]
    scaling.terminate_instance_in_auto_scaling_group(
        InstanceId=instance["InstanceId"], ShouldDecrementDesiredCapacity=True
    )
    assert (group()["DesiredCapacity"], group()["Instances"]) == (0, [])


def test_schedule_empties_the_group_at_the_deadline(stack: Stack) -> None:
    properties = stack.resolved(template()["Resources"]["DeadlineSchedule"]["Properties"])
    scheduler = stack.client("scheduler")
    scheduler.create_schedule(Name="deadline", **properties)
    schedule = scheduler.get_schedule(Name="deadline")
    assert schedule["ScheduleExpression"] == f"at({DEADLINE})"
    assert schedule["ScheduleExpressionTimezone"] == "UTC"
    assert schedule["State"] == "ENABLED"
    assert schedule["Target"]["Arn"].endswith(":aws-sdk:autoscaling:updateAutoScalingGroup")
    call = json.loads(schedule["Target"]["Input"])
    stack.client("autoscaling").update_auto_scaling_group(**call)
    assert call == {"AutoScalingGroupName": "bin-lite0", "MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0}
    assert schedule["Target"]["RoleArn"].endswith(stack.resources["DeadlineRole"])


def test_bucket_is_private_encrypted_versioned_and_tidied(stack: Stack) -> None:
    s3, name = stack.client("s3"), stack.outputs["BucketName"]
    properties = template()["Resources"]["Bucket"]["Properties"]
    s3.put_public_access_block(
        Bucket=name, PublicAccessBlockConfiguration=dict(properties["PublicAccessBlockConfiguration"])
    )
    blocked = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert blocked == dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    rules = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = {rule["Id"]: rule for rule in properties["LifecycleConfiguration"]["Rules"]}
    assert rules["old-versions"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 7
    assert rules["broken-uploads"]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 2
    expiring = {name: rule.get("Prefix") for name, rule in rules.items() if "ExpirationInDays" in rule}
    assert expiring == {"sources": "source/"}  # runs and photos are never deleted
    kept = template()["Resources"]["Bucket"]
    assert (kept["DeletionPolicy"], kept["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_bucket_refuses_connections_without_tls(stack: Stack) -> None:
    properties = stack.resolved(template()["Resources"]["BucketPolicy"]["Properties"])
    s3 = stack.client("s3")
    s3.put_bucket_policy(Bucket=properties["Bucket"], Policy=json.dumps(properties["PolicyDocument"]))
    policy = json.loads(s3.get_bucket_policy(Bucket=stack.outputs["BucketName"])["Policy"])
    arn = f"arn:aws:s3:::{stack.outputs['BucketName']}"
    for statement in policy["Statement"]:
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
        assert statement["Resource"] == [arn, f"{arn}/*"]
    conditions = [statement["Condition"] for statement in policy["Statement"]]
    assert {"Bool": {"aws:SecureTransport": "false"}} in conditions
    assert {"NumericLessThan": {"s3:TlsVersion": "1.2"}} in conditions


def test_logs_are_kept_for_a_time(stack: Stack) -> None:
    [group] = stack.client("logs").describe_log_groups(logGroupNamePrefix=stack.outputs["LogGroup"])["logGroups"]
    assert group["retentionInDays"] == 30


@pytest.mark.parametrize("role", ["InstanceRole", "DeadlineRole"])
def test_roles_allow_nothing_broad(stack: Stack, role: str) -> None:
    assert too_broad(stack.statements(role)) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"Action": "s3:*"}, "action s3:*"),
        ({"Action": ["s3:GetObject", "ec2:Terminate*"]}, "action ec2:Terminate*"),
        ({"Resource": "*"}, "any resource"),
        ({"Sid": "BeReachedThroughSessionManager", "Resource": "*"}, "any resource"),
        ({"Resource": "arn:aws:s3:::bin/*"}, "the whole bucket"),
        ({"Resource": "arn:aws:s3:::*/runs/lite0/*"}, "resource arn:aws:s3:::*/runs/lite0/*"),
        ({"Action": []}, "NotAction"),
    ],
)
def test_check_of_the_roles_sees_what_is_broad(change: dict[str, Any], problem: str) -> None:
    fine = {"Sid": "S", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bin/runs/lite0/*"}
    assert too_broad([fine]) == []
    broken = fine | change
    assert too_broad([broken]) == [f"{broken['Sid']}: {problem}"]


GROUP = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:0d1c:autoScalingGroupName/"
OURS = {"aws_ResourceTag/smartbin_stack": "bin"}


@pytest.mark.parametrize(
    ("action", "resource", "context", "allowed"),
    [
        ("s3:GetObject", "BUCKET/runs/lite0/checkpoint.pt", {}, True),
        ("s3:PutObject", "BUCKET/runs/lite0/plots/curves.png", {}, True),
        ("s3:PutObject", "BUCKET/logs/lite0/i-1.log", {}, True),
        ("s3:GetObject", "BUCKET/data/mine/glass/1.jpg", {}, True),
        ("s3:ListBucket", "BUCKET", {"s3_prefix": "runs/lite0/"}, True),
        ("s3:ListBucket", "BUCKET", {"s3_prefix": "data/mine/"}, True),
        ("s3:ListBucket", "BUCKET", {"s3_prefix": "runs/"}, False),
        ("s3:ListBucket", "BUCKET", {}, False),
        ("s3:GetObject", "BUCKET/runs/lite01/checkpoint.pt", {}, False),
        ("s3:PutObject", "BUCKET/runs/other/checkpoint.pt", {}, False),
        ("s3:PutObject", "BUCKET/data/mine/glass/1.jpg", {}, False),
        ("s3:PutObject", "BUCKET/source/smartbin.tar.gz", {}, False),
        ("s3:DeleteObject", "BUCKET/runs/lite0/checkpoint.pt", {}, False),
        ("s3:GetObject", "arn:aws:s3:::elsewhere/runs/lite0/checkpoint.pt", {}, False),
        ("autoscaling:TerminateInstanceInAutoScalingGroup", GROUP + "bin-lite0", OURS, True),
        ("autoscaling:TerminateInstanceInAutoScalingGroup", GROUP + "bin-lite0", {}, False),
        ("autoscaling:TerminateInstanceInAutoScalingGroup", GROUP + "bin-lite01", OURS, False),
        ("autoscaling:UpdateAutoScalingGroup", GROUP + "bin-lite0", OURS, False),
        ("ec2:TerminateInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-1", OURS, False),
        ("ssmmessages:OpenDataChannel", "*", {}, True),
        ("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/secret", {}, False),
    ],
)
def test_what_an_instance_may_do(
    stack: Stack, action: str, resource: str, context: dict[str, str], allowed: bool
) -> None:
    resource = resource.replace("BUCKET", f"arn:aws:s3:::{stack.outputs['BucketName']}")
    assert allows(stack.statements("InstanceRole"), action, resource, **context) is allowed


def test_schedule_may_only_empty_its_group(stack: Stack) -> None:
    statements = stack.statements("DeadlineRole")
    assert [statement["Action"] for statement in statements] == ["autoscaling:UpdateAutoScalingGroup"]
    assert allows(statements, "autoscaling:UpdateAutoScalingGroup", GROUP + "bin-lite0", **OURS)
    assert not allows(statements, "autoscaling:UpdateAutoScalingGroup", GROUP + "bin-other", **OURS)
    role = stack.client("iam").get_role(RoleName=stack.resources["DeadlineRole"])["Role"]
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"]["StringEquals"]["aws:SourceAccount"] == ACCOUNT


def test_without_a_run_there_is_the_bucket_only(aws: ModuleType) -> None:
    bare = make_stack(aws, "bare", RunName="")
    assert set(bare.resources) == {"Bucket", "Logs"}
    assert set(bare.outputs) == {"BucketName", "LogGroup"}


def test_stack_waits_for_training_to_begin() -> None:
    trainer = template()["Resources"]["Trainer"]
    assert trainer["CreationPolicy"]["ResourceSignal"]["Count"] == 1
    assert "--resource Trainer" in SCRIPT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("RunName", ["", "lite0", "my-run-2"], ["a", "Lite0", "-run", "a/b", "a'b", "x" * 49]),
        (
            "Source",
            ["source/a.tar.gz", "https://example.org/a/b.git"],
            ["http://example.org/a", "source/a'.tar.gz", "/etc"],
        ),
        ("Commit", ["", "v1.0", "feature/x", "0123abc+"], ["a b", "$(id)", "a'b"]),
        ("DataSets", ["garbage", "garbage recycle data/mine"], ["", "../x", "data/../x/", "a;b", "a  b", "--to"]),
        ("TrainFlags", ["", "--epochs 3 --set a=b"], ["--epochs 3; id", "$(id)", "a'b", 'a"b', "a\nb", "a|b", "~"]),
        ("Deadline", [DEADLINE], ["tomorrow", "2031-13-01T00:00:00", "2031-01-31T18:00:00Z", "2031-01-31"]),
        ("InstanceType", ["g6.xlarge", "p5.48xlarge"], ["g5g.xlarge", "t3.micro", ""]),
        ("OtherInstanceType", ["", "g5.12xlarge"], ["t3.micro"]),
    ],
)
def test_parameters_are_checked(name: str, good: list[str], bad: list[str]) -> None:
    pattern = template()["Parameters"][name]["AllowedPattern"]
    assert [value for value in good if not re.fullmatch(pattern, value)] == []
    assert [value for value in bad if re.fullmatch(pattern, value)] == []


def test_defaults_are_understood() -> None:
    for name, parameter in template()["Parameters"].items():
        if "AllowedPattern" in parameter and "Default" in parameter:
            assert re.fullmatch(parameter["AllowedPattern"], parameter["Default"]), name
    flags = template()["Parameters"]["TrainFlags"]["Default"].split()
    assert parse_train([*flags, "--data", "garbage"]).overrides["model"] == "efficientnet_lite0"
    assert "--epochs 20}" in (REPOSITORY / "train" / "cloud" / "aws.sh").read_text(encoding="utf-8")
