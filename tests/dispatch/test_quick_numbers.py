"""Numbers in calls that machine code makes, where some programs hold for one value of them."""

import pytest

import iskra as torch
from iskra.dispatch.operator import OPERATORS

pytestmark = pytest.mark.usefixtures("untaught")


@pytest.mark.parametrize("number", [2, 2.5])
@pytest.mark.parametrize("name", ["remainder", "fmod", "floor_divide", "pow", "sub"])
def test_programs_with_and_without_numbers_of_one_operator(name, number):
    operator = getattr(torch, name)
    x = torch.arange(8.0).view(4, 2)
    numbers = [number, number + 1]
    for dtypes in (("int64", "float64", "float32"), ("float32", "float64", "int64")):
        for dtype in dtypes:
            y = x.to(getattr(torch, dtype))
            first = [operator(y, n) for n in numbers]
            for n, result in zip(numbers, first, strict=True):
                torch.testing.assert_close(result, operator(y, torch.tensor(n)))
            for _ in range(12):
                assert all(map(torch.equal, [operator(y, n) for n in numbers], first))


def test_numbers_that_a_body_asks_about_are_part_of_the_key():
    x = torch.rand(70, 80) + 0.5
    expected = {v: ((x.double() ** v).float(), v) for v in (2.0, 2.3, 0.5, 2.7, 3, -1.5)}
    for _ in range(3):
        for wanted, exponent in expected.values():
            for _ in range(12):
                found = x ** exponent
            torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    assert len(OPERATORS["pow"].quick.table._known) >= len(expected)
