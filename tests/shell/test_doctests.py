"""The examples in the docstrings of client and worker are true."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from abraxas_py import assigned, call, engagement, jobstatus, task
from abraxas_py.protocol import pull


@pytest.mark.parametrize("module", [assigned, call, engagement, jobstatus, pull, task])
def test_examples_in_docstrings(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed
