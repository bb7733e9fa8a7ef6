"""The multiworker's TOML: the seed's sample, and every way to get it wrong with its file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from gearbox.errors import ConfigError
from gearbox.work.config import Config, Method, parse, read
from gearbox.work.runner import Input, Output

SAMPLE = r"""
[config]
reload_worker = true

[Test.sleep]
command = "sleep"
input = "append"
output = "ignore"
concurrency = 4

[Test.Foo.echo]
command = "echo test"
input = "append"
concurrency = 10

[Php.eval]
command = ['php', '-R', '$expr = implode(" ", json_decode($argn)); echo json_encode(eval("return $expr;"))."\n";']
output = "nl-json"
concurrency = 1
log = "/var/log/gearbox/php_eval.log"
log_output = true
"""

PHP = r"""$expr = implode(" ", json_decode($argn)); echo json_encode(eval("return $expr;"))."\n";"""


def test_the_seeds_sample() -> None:
    assert parse([("config.toml", SAMPLE)]) == Config(
        methods=(
            Method("Test::sleep", "sleep", Input.APPEND, Output.IGNORE, concurrency=4),
            Method("Test\\Foo::echo", "echo test", Input.APPEND, concurrency=10),
            Method(
                "Php::eval",
                ("php", "-R", PHP),
                output=Output.NL_JSON,
                log="/var/log/gearbox/php_eval.log",
                log_output=True,
            ),
        ),
        reload_worker=True,
    )


def one(text: str) -> Config:
    return parse([("a.toml", text)])


def test_defaults_are_the_seeds() -> None:
    (method,) = one('[a.b]\ncommand = "x"').methods
    assert method == Method("a::b", "x", Input.STDIN, Output.STRING, None, False, False, 1, False, 16 * 2**20)


def test_a_method_may_hold_further_methods() -> None:
    config = one('[a.b]\ncommand = "x"\n[a.b.c]\ncommand = "y"\n[top]\ncommand = "z"\n[a.command]\ncommand = "w"')
    assert [method.name for method in config.methods] == ["a::b", "a\\b::c", "a::command", "::top"]
    assert config.remarks == ()


@pytest.mark.parametrize(
    ("settings", "remark"),
    [
        ("command = 5", "has invalid command syntax (a.toml line 4, x.y.command), method skipped"),
        ("command = []", "has invalid command syntax (a.toml line 4, x.y.command), method skipped"),
        ("command = ['a', 1]", "has invalid command syntax (a.toml line 4, x.y.command), method skipped"),
        ("command = ' '", "has invalid command syntax (a.toml line 4, x.y.command), method skipped"),
        ('command = "a\\u0000"', "has invalid command syntax (a.toml line 4, x.y.command), method skipped"),
        ("input = 'append'", "has no command (a.toml line 3, x.y), method skipped"),
        (
            "command = 'a'\ninput = 'nope'",
            "has invalid input setting: nope (choose from stdin, append, prepend, ignore) "
            "(a.toml line 5, x.y.input), method skipped",
        ),
        (
            "command = 'a'\n\n# why\noutput = 1",
            "has invalid output setting: 1 (choose from string, buffer, json, nl-json, ignore) "
            "(a.toml line 7, x.y.output), method skipped",
        ),
        (
            "command = [\n 'a',\n 'b' ]\nlog_output = 'yes'",
            "has invalid log_output setting: 'yes' is neither true nor false (a.toml line 7, x.y.log_output), "
            "method skipped",
        ),
        (
            "command = 'a'\nconcurrency = '4'",
            "has invalid concurrency setting: '4' is not an integer (a.toml line 5, x.y.concurrency), method skipped",
        ),
        (
            "command = 'a'\nconcurrency = true",
            "has invalid concurrency setting: True is not an integer (a.toml line 5, x.y.concurrency), method skipped",
        ),
        ("command = 'a'\ncommnd = 1", "has an unknown setting: commnd (a.toml line 5, x.y.commnd), method skipped"),
        (
            "command = 'a'\nlog = ''",
            "has invalid log setting: '' is not a path (a.toml line 5, x.y.log), method skipped",
        ),
        (
            "command = 'a'\noutput_limit = 0",
            "has invalid output_limit setting: 0 is less than one byte (a.toml line 5, x.y.output_limit), "
            "method skipped",
        ),
        (
            "command = 'a'\ninput = 'prepend'",
            "has invalid input setting: prepend is not supported with string command "
            "(a.toml line 5, x.y.input), method skipped",
        ),
        (
            "command = 'a;'\ninput = 'append'",
            "has invalid input setting: append would run the job's arguments as a command, since the command ends in ; "
            "(a.toml line 5, x.y.input), method skipped",
        ),
    ],
)
def test_a_wrong_setting_skips_its_method_alone(settings: str, remark: str) -> None:
    config = one(f"\n\n[x.y]\n{settings}\n[good.one]\ncommand = 'true'")
    assert config.remarks == (f"x::y {remark}",)
    assert [method.name for method in config.methods] == ["good::one"]


def test_all_wrong_settings_of_a_method_are_told_at_once() -> None:
    assert len(one("[x.y]\ncommand = 1\ninput = 2\noutput = 3").remarks) == 3


def test_names_that_gearman_cannot_carry_are_refused() -> None:
    for name in ('"a b"', '"a\\n"', '""', '"a::b"', '"a\\\\b"'):
        config = one(f"[x.{name}]\ncommand = 'true'")
        assert config.methods == ()
        assert "has a name that Gearman cannot carry" in config.remarks[0]


def test_a_whole_name_has_what_gearman_carries_at_most() -> None:
    config = one(f"[{'a' * 509}.x]\ncommand = 'true'\n['{'é' * 255}'.x]\ncommand = 'true'\n[x.y]\ncommand = 'true'")
    assert [len(method.name) for method in config.methods] == [512, 4]
    assert "has a name that Gearman cannot carry (a.toml line 3" in config.remarks[0]


def test_disabled_and_zero_concurrency_leave_the_method_out() -> None:
    config = one(
        "[x.a]\ncommand='a'\ndisabled=true\n[x.b]\ncommand='b'\nconcurrency=0\n[x.c]\ncommand='c'\nconcurrency=-1"
    )
    assert config.methods == ()
    assert config.remarks == (
        "x::b has concurrency < 1, assuming disabled=true",
        "x::c has concurrency < 1, assuming disabled=true",
    )


def test_commands_that_swallow_arguments_are_warned_of() -> None:
    config = one("[x.y]\ncommand = 'echo # all'\ninput = 'append'")
    assert len(config.methods) == 1
    assert config.remarks == (
        "x::y: the command ends in a comment, which swallows the job's arguments (a.toml line 2, x.y.command)",
    )


def test_general_settings() -> None:
    config = one("[config]\nreload_worker = 1\nstop_timeout = 5\nnope = 1")
    assert (config.reload_worker, config.stop_timeout) == (False, 5.0)
    assert config.remarks == (
        "config has invalid reload_worker setting: 1 is neither true nor false (a.toml line 2, config.reload_worker)",
        "config has an unknown setting: nope (a.toml line 4, config.nope)",
    )
    assert one("config = 1").remarks == ("config is not a table (a.toml line 1, config)",)
    assert one("a = 1").remarks == ("unknown setting outside of any table: a (a.toml line 1, a)",)


def test_several_files_add_up_and_the_first_definition_holds() -> None:
    config = parse(
        [
            ("a.toml", "[x.y]\ncommand='1'"),
            ("b.toml", "[config]\nreload_worker=true\n[x.y]\ncommand='2'\n[x.z]\ncommand='3'"),
        ]
    )
    assert [(method.name, method.command) for method in config.methods] == [("x::y", "1"), ("x::z", "3")]
    assert config.reload_worker
    assert config.remarks == ("x::y is defined again (b.toml), the first definition holds",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a.b]\ncommand 'x'", r"a\.toml: .* at line 2 col 8"),
        ("[a.b]\ncommand = [\n'x'\n", r"a\.toml: Unexpected character: the end of the file at line 3 col 0"),
        ("[a.b]\ncommand = [\n'x',\n'y']\ncommand = 'z'", r'a\.toml: Key "command" already exists.* \(at line 5\)'),
        ("[a]\n[a]", r"a\.toml: .*line 2"),
    ],
)
def test_what_is_not_toml_stops_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        one(text)


def test_all_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(ConfigError) as caught:
        read([str(tmp_path / "none.toml"), str(tmp_path / "latin.toml"), str(tmp_path)])
    assert caught.value.messages == (
        f"{tmp_path}/none.toml: No such file or directory",
        f"{tmp_path}/latin.toml: not UTF-8 (unexpected end of data at byte 5)",
        f"{tmp_path}: Is a directory",
    )


def test_read_is_parse_of_files(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(SAMPLE)
    assert read([str(tmp_path / "config.toml")]) == parse([("", SAMPLE)])


def test_hundreds_of_remarks_name_their_lines_at_once() -> None:
    text = "".join(f"[A.m{n}]\ncommand = [\n'x',\n\n'y']\nnope = 1\n" for n in range(300))
    remarks = parse([("f", text)]).remarks
    assert len(remarks) == 300
    assert remarks[150] == "A::m150 has an unknown setting: nope (f line 906, A.m150.nope), method skipped"


def test_a_key_within_an_inline_table_has_the_line_of_the_table() -> None:
    (remark,) = parse([("f", '\nt = {command = "a", nope = 2}\n')]).remarks
    assert "(f line 2, t.nope)" in remark
