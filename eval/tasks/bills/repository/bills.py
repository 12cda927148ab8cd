"""Dividing amounts, in cents."""


def split(amount: int, people: int) -> list[int]:
    return [round(amount / people)] * people
