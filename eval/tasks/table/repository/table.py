"""Reading tables as spreadsheets export them."""


def read(text: str) -> list[dict[str, str]]:
    """One mapping for each row; the first row has the names of the columns."""
    lines = text.split("\n")
    names = lines[0].split(",")
    return [dict(zip(names, line.split(","))) for line in lines[1:]]
