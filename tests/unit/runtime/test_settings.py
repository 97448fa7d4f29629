"""Settings: everything that is wrong, at once, without a secret."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError

from services.runtime.settings import (
    ConfigClientSettings,
    Port,
    ServiceSettings,
    SettingsError,
    is_loopback,
    load_settings,
    parse_command_line,
    settings_config,
)


class SampleSettings(ServiceSettings):
    """Settings of an imagined service."""

    model_config = settings_config("PENSTOCK_SAMPLE_")

    port: Port = Field(default=50099, description="Port of the sample.")
    password: SecretStr = Field(default=SecretStr("default-secret"), description="Password of the sample", min_length=8)
    topics: tuple[str, ...] = Field(default=("a", "b"), description="Topics of the sample.")
    weights: dict[str, int] = Field(default_factory=dict, description="Weights by topic.")
    store: str = Field(default="memory", description="Where the sample lies.")
    table: str | None = Field(default=None, description="Table, for the store dynamodb.")

    def conflicts(self) -> Iterator[str]:
        yield from super().conflicts()
        if self.store == "dynamodb" and not self.table:
            yield f"{self.variable('store')}=dynamodb needs {self.variable('table')}"


class DemandingSettings(ServiceSettings):
    """Settings with a field that has no default."""

    model_config = settings_config("PENSTOCK_DEMANDING_")

    table: str = Field(description="Table to use.")


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    """What is wrong with an environment of the sample."""
    with pytest.raises(SettingsError) as caught:
        load_settings(SampleSettings, environ)
    return caught.value.problems


def test_defaults_hold_in_an_empty_environment() -> None:
    """Everything runs on one machine without a setting."""
    settings = load_settings(SampleSettings, {})
    assert (settings.host, settings.port, settings.metrics_port, settings.log_level) == ("127.0.0.1", 50099, 0, "info")
    assert settings.max_message_bytes == 16 * 1024 * 1024


def test_variables_are_read_by_prefix_and_field() -> None:
    """Every kind of field from its text."""
    settings = load_settings(
        SampleSettings,
        {
            "PENSTOCK_SAMPLE_PORT": "1234",
            "PENSTOCK_SAMPLE_INSECURE": "true",
            "PENSTOCK_SAMPLE_DRAIN_SECONDS": "0.5",
            "PENSTOCK_SAMPLE_TOPICS": "orders, clicks,",
            "PENSTOCK_SAMPLE_WEIGHTS": '{"orders": 3}',
            "PENSTOCK_SAMPLE_PASSWORD": "long enough",
            "HOME": "/somewhere",
        },
    )
    assert (settings.port, settings.insecure, settings.drain_seconds) == (1234, True, 0.5)
    assert (settings.topics, settings.weights) == (("orders", "clicks"), {"orders": 3})
    assert settings.password.get_secret_value() == "long enough"


def test_service_name_is_that_of_the_variables() -> None:
    """It stands in every log line."""
    assert SampleSettings.service_name() == "sample"


def test_empty_variable_counts_as_not_set() -> None:
    """Compose files write `VARIABLE=` for "leave the default"."""
    assert load_settings(SampleSettings, {"PENSTOCK_SAMPLE_PORT": ""}).port == 50099


def test_overrides_win_over_the_environment() -> None:
    """What a person gives on the command line is the last word."""
    assert load_settings(SampleSettings, {"PENSTOCK_SAMPLE_PORT": "1"}, {"port": 2}).port == 2


def test_all_problems_are_reported_at_once() -> None:
    """Bad values, an unknown variable and a conflict in one go: nobody fixes one to find the next."""
    found = problems(
        {
            "PENSTOCK_SAMPLE_PORT": "99999",
            "PENSTOCK_SAMPLE_DRAIN_SECONDS": "soon",
            "PENSTOCK_SAMPLE_WEIGHTS": "{",
            "PENSTOCK_SAMPLE_PROT": "1",
            "PENSTOCK_SAMPLE_HOST": "0.0.0.0",
            "PENSTOCK_SAMPLE_STORE": "dynamodb",
        }
    )
    for part in (
        "PENSTOCK_SAMPLE_PORT='99999'",
        "PENSTOCK_SAMPLE_DRAIN_SECONDS='soon'",
        "PENSTOCK_SAMPLE_WEIGHTS is not valid JSON",
        "PENSTOCK_SAMPLE_PROT is not a setting",
        "PENSTOCK_SAMPLE_HOST='0.0.0.0' is not a loopback address",
        "PENSTOCK_SAMPLE_STORE=dynamodb needs PENSTOCK_SAMPLE_TABLE",
    ):
        assert sum(part in problem for problem in found) == 1, (part, found)
    assert len(found) == 6


def test_missing_value_without_default_is_reported_once() -> None:
    """Also when something else is wrong."""
    with pytest.raises(SettingsError) as caught:
        load_settings(DemandingSettings, {"PENSTOCK_DEMANDING_PORT": "x"})
    assert sum("PENSTOCK_DEMANDING_TABLE" in problem for problem in caught.value.problems) == 1


def test_conflict_that_follows_from_a_reported_fault_is_not_reported_again(tmp_path: Path) -> None:
    """A certificate that cannot be read is one problem, not two."""
    key = tmp_path / "key.pem"
    key.write_text("key")
    found = problems(
        {
            "PENSTOCK_SAMPLE_HOST": "0.0.0.0",
            "PENSTOCK_SAMPLE_TLS_CERT": str(tmp_path / "absent.pem"),
            "PENSTOCK_SAMPLE_TLS_KEY": str(key),
        }
    )
    assert len(found) == 1
    assert "PENSTOCK_SAMPLE_TLS_CERT" in found[0]


def test_secret_is_in_no_problem_and_no_repr() -> None:
    """A refused password is still a password."""
    assert "short" not in "".join(problems({"PENSTOCK_SAMPLE_PASSWORD": "short"}))
    settings = load_settings(SampleSettings, {"PENSTOCK_SAMPLE_PASSWORD": "a long secret"})
    assert "a long secret" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    """Nobody else can reach it."""
    assert is_loopback(host)
    assert SampleSettings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "*", "127.0.0.1.example.org"])
def test_other_addresses_need_tls_or_insecure(host: str) -> None:
    """Plain text on a network is a decision somebody has to take."""
    with pytest.raises(ValidationError, match="not a loopback address"):
        SampleSettings(host=host)
    assert SampleSettings(host=host, insecure=True).host == host


def test_other_addresses_are_fine_with_tls_files(tmp_path: Path) -> None:
    """Certificate and key suffice."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for file in (cert, key):
        file.write_text("pem")
    assert SampleSettings(host="10.0.0.1", tls_cert=cert, tls_key=key).tls_cert == cert
    with pytest.raises(ValidationError, match="belong together"):
        SampleSettings(tls_cert=cert)
    with pytest.raises(ValidationError, match="PENSTOCK_SAMPLE_TLS_CLIENT_CA needs"):
        SampleSettings(tls_client_ca=cert)


def test_settings_cannot_change() -> None:
    """Whoever got them may rely on them."""
    with pytest.raises(ValidationError, match="frozen"):
        SampleSettings().port = 1


def test_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests and embedders say what they want."""
    monkeypatch.setenv("PENSTOCK_SAMPLE_PORT", "1")
    assert SampleSettings().port == 50099


def test_help_lists_every_variable_with_description_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    """--help is the reference of the settings."""
    with pytest.raises(SystemExit) as caught:
        parse_command_line(SampleSettings, prog="sample", description="A sample.", argv=["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    for name, field in SampleSettings.model_fields.items():
        assert f"PENSTOCK_SAMPLE_{name.upper()} (" in text
        assert field.description
        assert field.description in text
    assert "PENSTOCK_SAMPLE_TOPICS (default a,b)" in text
    assert "default-secret" not in text


def test_required_setting_is_marked_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """A reader sees what cannot be left out."""
    with pytest.raises(SystemExit):
        parse_command_line(DemandingSettings, prog="sample", description="A sample.", argv=["--help"])
    assert "PENSTOCK_DEMANDING_TABLE (required)" in capsys.readouterr().out


def test_check_validates_and_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """For deployment scripts: exit code 0 or all the problems."""
    with pytest.raises(SystemExit) as caught:
        parse_command_line(SampleSettings, prog="sample", description="A sample.", argv=["--check"])
    assert caught.value.code == 0
    assert "valid" in capsys.readouterr().err
    monkeypatch.setenv("PENSTOCK_SAMPLE_PORT", "x")
    with pytest.raises(SettingsError):
        parse_command_line(SampleSettings, prog="sample", description="A sample.", argv=["--check"])


def test_insecure_option_allows_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The explicit flag for containers behind something that does TLS."""
    monkeypatch.setenv("PENSTOCK_SAMPLE_HOST", "0.0.0.0")
    with pytest.raises(SettingsError, match="--insecure"):
        parse_command_line(SampleSettings, prog="sample", description="A sample.", argv=[])
    assert parse_command_line(SampleSettings, prog="sample", description="A sample.", argv=["--insecure"]).insecure


class FollowerSettings(ConfigClientSettings):
    """Of a service that follows parameters."""

    model_config = settings_config("PENSTOCK_FOLLOWER_")


def test_token_for_the_config_service_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    """From one of them, and shows in no repr."""
    (tmp_path / "token").write_text("t0ken\n")
    assert FollowerSettings().read_config_token() == ""
    for given in ({"config_token": "t0ken"}, {"config_token_file": tmp_path / "token"}):
        settings = FollowerSettings.model_validate(given)
        assert settings.read_config_token() == "t0ken"
        assert "t0ken" not in repr(settings)
    with pytest.raises(ValidationError, match="CONFIG_TOKEN or PENSTOCK_FOLLOWER_CONFIG_TOKEN_FILE, not both"):
        FollowerSettings.model_validate({"config_token": "t0ken", "config_token_file": tmp_path / "token"})
