"""Arithmetic on a map, as BIfTI files write it: numbers, + - * / ( ), x and statistics of x.

A small grammar of our own: nothing a user hands in is evaluated as code.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

VARIABLES = ("x", "x_min", "x_max", "x_std", "x_mean")
MAX_LENGTH = 1000
MAX_DEPTH = 50
_TOKEN = re.compile(
    r"\s*(?:((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(x_min|x_max|x_std|x_mean|x)\b|([-+*/()]))"
)


class ExpressionError(ValueError):
    """An expression does not follow the grammar."""


def evaluate(expression: str, x: NDArray[Any]) -> NDArray[Any]:
    """Return the value of an expression of x.

    Grammar: sum = product {(+|-) product}; product = factor {(*|/) factor}; factor = (+|-) factor | number
    | variable | ( sum ). The variables are x and its smallest, largest and mean value and its standard
    deviation (of all values, divided by their number).

    Parameters
    ----------
    expression : str
        At most 1000 characters.
    x : ndarray
        Values of the map.

    Returns
    -------
    ndarray
        Of the shape of x. Division by zero gives infinity or NaN, as in IEEE arithmetic.

    Raises
    ------
    ExpressionError
        With the place, if the text is no such expression.
    """
    parser = _Parser(_tokens(expression), x)
    with np.errstate(all="ignore"):
        value = parser.sum(0)
    parser.expect("")
    return np.broadcast_to(np.asarray(value), x.shape).copy()


def _tokens(expression: str) -> list[str]:
    if len(expression) > MAX_LENGTH:
        raise ExpressionError(
            f"an expression must have at most {MAX_LENGTH} characters; got {len(expression)}."
        )
    tokens, at = [], 0
    text = expression.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(
                f"an expression must hold numbers, + - * / ( ) and {', '.join(VARIABLES)} only; "
                f"got {text[at : at + 20]!r} at character {at + 1} of {expression!r}."
            )
        tokens.append(match.group(match.lastindex or 0))
        at = match.end()
    return tokens


class _Parser:
    """Recursive descent that computes as it reads."""

    def __init__(self, tokens: list[str], x: NDArray[Any]) -> None:
        self.tokens = [*tokens, ""]
        self.at = 0
        self.x = x

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def peek(self) -> str:
        return self.tokens[self.at]

    def expect(self, token: str) -> None:
        if self.take() != token:
            wanted = repr(token) if token else "its end"
            got = self.tokens[self.at - 1] or "the end"
            raise ExpressionError(f"an expression must have {wanted} as its token {self.at}; got {got!r}.")

    def sum(self, depth: int) -> Any:
        value = self.product(depth)
        while self.peek() in ("+", "-"):
            value = value + self.product(depth) if self.take() == "+" else value - self.product(depth)
        return value

    def product(self, depth: int) -> Any:
        value = self.factor(depth)
        while self.peek() in ("*", "/"):
            value = value * self.factor(depth) if self.take() == "*" else value / self.factor(depth)
        return value

    def factor(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"an expression must nest at most {MAX_DEPTH} signs and parentheses.")
        token = self.take()
        if token in ("+", "-"):
            value = self.factor(depth + 1)
            return value if token == "+" else -value
        if token == "(":
            value = self.sum(depth + 1)
            self.expect(")")
            return value
        if token in VARIABLES:
            return self.x if token == "x" else getattr(self.x, token[2:])()
        if token[:1].isdigit() or token[:1] == ".":
            return np.float64(token)
        raise ExpressionError(
            f"an expression must have a number, a variable or '(' as its token {self.at}; "
            f"got {token or 'the end'!r}."
        )
