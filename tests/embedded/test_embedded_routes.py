import pytest

from embedded.errors import StartError
from embedded.routes import Template


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("", "/", {}),
        ("items", "/Items/", {}),
        ("items", "/items/1", None),
        ("items/{id}", "/items/a%20b", {"id": "a b"}),
        ("items/{id}", "/items/a%2Fb", {"id": "a%2Fb"}),
        ("items/{id}", "/items/", None),
        ("items/{id?}", "/items", {}),
        ("items/{id:int?}", "/items", {}),
        ("items/{id:int?}", "/items/x", None),
        ("{a}-{b}.txt", "/x-y-z.txt", {"a": "x-y", "b": "z"}),
        ("files/{*path}", "/files/a/b", {"path": "a/b"}),
        ("files/{**path:minlength(3)}", "/files/ab", None),
        ("{v:int}", "/-12", {"v": "-12"}),
        ("{v:int}", "/2147483648", None),
        ("{v:long}", "/2147483648", {"v": "2147483648"}),
        ("{v:bool}", "/True", {"v": "True"}),
        ("{v:bool}", "/1", None),
        ("{v:datetime}", "/2026-11-21T10:00", {"v": "2026-11-21T10:00"}),
        ("{v:datetime}", "/2026-13-01", None),
        ("{v:decimal}", "/1.5", {"v": "1.5"}),
        ("{v:double}", "/x", None),
        ("{v:float}", "/nan", None),
        ("{v:guid}", "/CD2C1638-1638-72D5-1638-DEADBEEF1638", {"v": "CD2C1638-1638-72D5-1638-DEADBEEF1638"}),
        ("{v:guid}", "/1638", None),
        ("{v:alpha}", "/Rick", {"v": "Rick"}),
        ("{v:alpha}", "/R2", None),
        ("{v:length(4)}", "/four", {"v": "four"}),
        ("{v:length(4)}", "/three", None),
        ("{v:length(2,5)}", "/three", {"v": "three"}),
        ("{v:minlength(4)}", "/one", None),
        ("{v:maxlength(2)}", "/one", None),
        ("{v:min(18)}", "/17", None),
        ("{v:max(120)}", "/91", {"v": "91"}),
        ("{v:range(18,120)}", "/121", None),
        ("{v:int:min(1)}", "/0", None),
        ("{v:alpha:length(2):required}", "/ab", {"v": "ab"}),
        (r"{v:regex(^\d{{3}}-(a|b)$)}", "/123-B", {"v": "123-B"}),
        (r"{v:regex(^\d{3}$)}", "/12", None),
        ("{a:int}/x/{b:alpha}", "/1/x/y", {"a": "1", "b": "y"}),
    ],
)
def test_match(template: str, path: str, values: dict[str, str] | None) -> None:
    assert Template(template).match(path.encode()) == values


def test_what_says_more_comes_first() -> None:
    templates = ["{*rest:alpha}", "a/{x}", "{*rest}", "a/b", "a/{x:int}", "a/{x}.txt", "a/b/c"]
    ranked = ["a/b", "a/b/c", "a/{x:int}", "a/{x}.txt", "a/{x}", "{*rest:alpha}", "{*rest}"]
    assert sorted(sorted(templates), key=lambda template: Template(template).rank) == ranked


@pytest.mark.parametrize(
    "template",
    ["{a:odd}", "{a:min(x)}", "{a:min}", "{a:range(1)}", "{a:regex([)}", "{a", "a}", "{a b}", "x{a?}", "{a}{*b}"],
)
def test_what_cannot_be_served_is_said(template: str) -> None:
    with pytest.raises(StartError, match="route"):
        Template(template)
