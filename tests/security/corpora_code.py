"""Strings that some program would run: SQL, shells, browsers, templates, spreadsheets, file systems, terminals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

ESC, BEL = "\x1b", "\x07"


def words(text: str) -> list[str]:
    """What white space parts."""
    return text.split()


def sql() -> Iterator[str]:
    ends = ("--", "#", "/*", ";", ")--", "')--", "'/**/")
    for tail in ends:
        yield f"' OR 1=1 {tail}"
        yield f'" OR ""="" {tail}'
    yield from (
        "'; DROP TABLE requests; --",
        "'); DELETE FROM tasks; --",
        "1; UPDATE requests SET state='promoted'",
        "' UNION SELECT body FROM requests --",
        "' AND (SELECT 1 FROM pg_sleep(9)) --",
        "'||(SELECT sqlite_version())||'",
        "x' AND randomblob(1000000000) --",
        "ATTACH DATABASE '/tmp/x' AS x",
        "E'\\x41'",
        "x' COLLATE NOCASE --",
        "\u02bc OR 1=1 --",
        "＇ OR 1=1 --",
        "tags.`x` = 'y'",
        "' and tags.`unlearning.batch` != '",
    )
    yield from words(r"% _ %% \% [a-z] %s :name ? $1 @x %(x)s :1 $$x$$ x'41' CHAR(65) 0x41")


def shell() -> Iterator[str]:
    for mark in ("; ", "| ", "|| ", "& ", "&& ", "\n", "$(", "`", "> ", "< ", "{", "\\\n"):
        yield f"a{mark}touch owned"
    yield from words("$(touch${IFS}owned) `id` $HOME ${HOME} $0 $$ !! !$ ~ ~root * ?? [a-z]* {a,b} >(id) <(id) %PATH%")
    yield from (
        "--upload-pack=touch x",
        "-oProxyCommand=id",
        "a;#",
        "() { :;}; id",
        "pipe:touch owned",
        "|id",
        "a\\",
        "^x",
    )


def markup() -> Iterator[str]:
    run = "alert(1)"
    for tag in (
        "script",
        "SCRIPT",
        "ScRiPt",
        "svg onload=1",
        "img src=x onerror=alert(1)",
        "iframe",
        "style",
        "base",
        "x",
    ):
        yield f"<{tag}>{run}</{tag.split()[0]}>"
    for name in ("onmouseover", "onfocus", "style", "href", "srcdoc", "formaction"):
        for quote in ('"', "'", ""):
            yield f"{quote} {name}={quote}{run}"
    yield from (
        f"javascript:{run}",
        f"JaVaScRiPt:{run}",
        f"java\tscript:{run}",
        f"&#106;avascript:{run}",
        f"data:text/html,<script>{run}</script>",
        f"</title><script>{run}</script>",
        f"</style><script>{run}</script>",
        f"</textarea><script>{run}</script>",
        f"--><script>{run}</script>",
        f"]]><script>{run}</script>",
        "<?xml version='1.0'?>",
        "<!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]>",
        "<a href=//example.invalid>",
        "<meta http-equiv=refresh content=0>",
        "<link rel=stylesheet href=//x>",
        "<form action=//x><input name=y>",
        "\u003cscript\u003e",
        "\uff1cscript\uff1e",
        "@import '//x'",
        "<svg><![CDATA[><image xlink:href='x' onerror=alert(1)>]]>",
        "<math><mtext></mtext></math>",
    )
    yield from (
        "# x",
        "**x**",
        "[x](javascript:alert(1))",
        "![x](http://x.invalid/p.png)",
        "`x`",
        "```",
        "| a | b |",
        "---",
        "1. x",
    )
    yield from ("> x", "* x", "<http://x.invalid>", "[x]: http://x.invalid", "~~x~~", "\\*x\\*", "- [ ] x", "$x^2$")
    yield from ("[[x]]", ":x:")
    yield from words("<!-- --> <![CDATA[ &lt;b&gt; &amp; &#60;b&#62; &nbsp & < > <b b> </td></tr></table> url(//x)")
    yield from words("%3Cscript%3E expression(alert(1))")


def templates() -> Iterator[str]:
    for left, right in (
        ("{{", "}}"),
        ("${", "}"),
        ("#{", "}"),
        ("{%", "%}"),
        ("<%=", "%>"),
        ("{", "}"),
        ("$(", ")"),
        ("[[", "]]"),
        ("@{", "}"),
    ):
        yield f"{left}7*7{right}"
        yield f"{left} config {right}"
    yield from (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% for x in range(10**9) %}{% endfor %}",
        "{{ self }}",
        "{# x #}",
        "{0}",
        "{x!r}",
        "{0.__class__}",
        "{:>999999999}",
        "{x:{y}}",
        "{{",
        "}}",
        "{",
        "}",
        "f'{7*7}'",
        "${jndi:ldap://127.0.0.1/x}",
        "${env:HOME}",
        "${oc.env:HOME}",
        "${now:}",
    )
    yield from words("%s %d %n %x %p %s%s%s%s%n %999999999d %(name)s %1$s %c %% %")


def formulas() -> Iterator[str]:
    for mark, text in product("=+-@", ("1+1", "cmd|' /C calc'!A0", 'HYPERLINK("http://x.invalid")', "A1", "SUM(1)")):
        yield f"{mark}{text}"
    yield from (
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        " =1+1",
        "'=1+1",
        '"=1+1"',
        "＝1+1",
        "|=1",
        ";=1",
        "%0A=1",
        "=",
        "@",
        "+",
        "sep=;",
    )
    yield from (
        '=WEBSERVICE("http://x.invalid")',
        '=DDE("cmd")',
        "=IMPORTXML(1)",
        "-2+3+cmd|'x'!A0",
        "@SUM(1)",
        "=\u20281",
    )


def paths() -> Iterator[str]:
    for up in ("../", "..\\", "..%2f", "%2e%2e/", "..;/", "....//", "..\u2215", "..%c0%af", "．．/", "..//", "./../"):
        yield f"{up}{up}etc/passwd"
    yield from (
        "/",
        "//",
        "\\",
        "/etc/passwd",
        "C:\\x",
        "C:x",
        "\\\\x\\y",
        "~/x",
        "a/b",
        "a//b",
        "a/./b",
        ".",
        "..",
        "...",
        "a/",
        "/a",
    )
    yield from (
        "/dev/zero",
        "/proc/self/environ",
        "a" * 200 + "/x",
        ".hidden",
        "a.",
        "a b",
        "a:b",
        "x.tar",
        "CON/x",
        "a\\b",
        "-x/y",
    )


def addresses() -> Iterator[str]:
    for host in (
        "127.0.0.1",
        "localhost",
        "[::1]",
        "0",
        "0x7f.1",
        "2130706433",
        "169.254.169.254",
        "x.invalid",
        "127.1",
        "①②⑦.0.0.1",
    ):
        yield f"http://{host}/latest"
    for scheme in (
        "file",
        "ftp",
        "gopher",
        "dict",
        "ldap",
        "jar",
        "s3",
        "gs",
        "hf",
        "data",
        "vbscript",
        "about",
        "sqlite",
        "git+ssh",
    ):
        yield f"{scheme}:///etc/passwd"
    yield from (
        "//x.invalid",
        "http://a@b.invalid",
        "http://x.invalid#@y",
        "http://x\\y",
        "simplecache::http://127.0.0.1",
        "mailto:a@b",
    )
    yield from (
        "a@b.invalid",
        "http://%31%32%37.0.0.1",
        "javascript://%0aalert(1)",
        "http:x",
        "HTTP://X",
        "x.invalid:80",
        "://",
        "?a=b",
        "#a",
    )


def terminals() -> Iterator[str]:
    for code in (
        "[2J",
        "[31mred",
        "[1A",
        "[?25l",
        "]0;title" + BEL,
        "]8;;http://x.invalid" + BEL,
        "c",
        "[6n",
        "P+q",
        "(0",
        "[999D",
        "[5i",
    ):
        yield f"{ESC}{code}"
    yield from (
        "\x9b2J",
        "\x9d0;x\x9c",
        f"a{BEL}",
        "a\rb",
        "\x0e",
        "\x1b",
        "a\x08\x08b",
        "\u001b[0m",
        "\\e[31m",
        "\\033[2J",
        "^[[2J",
    )
