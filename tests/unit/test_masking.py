"""Masked phone numbers in logs, errors and summaries."""

from __future__ import annotations

import pytest

from airflow_provider_wati.client.target import Target
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.masking import mask_numbers, mask_target


@pytest.mark.parametrize(
    ("target", "masked"),
    [
        ("85264318722", "*******8722"),
        ("+91 98765 43210", "********3210"),
        ("9876543210.0", "*******2100"),
        ("9.19876543210e11", "**********1011"),
        ("98765-43210 (Ada)", "*****-*3210 (Ada)"),
        ("Ada 98765", "Ada *8765"),
        ("1234", "1234"),
        ("tel:+85264318722", "tel:+*******8722"),
        ("\u0669\u0661\u0669\u0668\u0667\u0666", "**\u0669\u0668\u0667\u0666"),
        ("US.123124141512", "US.********1512"),
        ("14155552671:85264318722", "***********:*******8722"),
        ("507f1f77bcf86cd799439011", "507f1f77bcf86cd799439011"),
        ("Ada", "Ada"),
        ("", ""),
    ],
)
def test_of_a_target_four_digits_are_left(target: str, masked: str) -> None:
    """A masked target shows its last four digits."""
    assert mask_target(target) == masked


def test_a_long_target_is_masked_before_it_is_cut() -> None:
    """A long value is masked first and cut then."""
    masked = mask_target("x" * 33 + "85264318722" + "y" * 100)
    assert len(masked) == 40
    assert "8526" not in masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Invalid number 85264318722.", "Invalid number *******8722."),
        ("to +91 98765-43210 now", "to ********3210 now"),
        ("98765-43210 is unknown", "******3210 is unknown"),
        ("(022) 2345 6789 12", "(*********8912"),
        ("at 2026-11-24T10:20:30Z", "at 2026-11-24T10:20:30Z"),
        ("on 2026-11-24 10:20", "on 2026-11-24 10:20"),
        ("1,000,000 of 2,000,000 rows", "1,000,000 of 2,000,000 rows"),
        ("row 1234567: no", "row ***4567: no"),
        ("broadcast 66b1fb044045cedb1f195390", "broadcast 66b1fb044045cedb1f195390"),
        ("code 131026 in 30 s", "code 131026 in 30 s"),
    ],
)
def test_phone_numbers_in_a_text(text: str, masked: str) -> None:
    """Phone numbers in a text are masked; ids, dates and short numbers are not."""
    assert mask_numbers(text) == masked


def test_an_error_about_a_target_shows_no_phone_number() -> None:
    """The error for a target has a masked value."""
    for make in (Target.parse, Target.phone, Target.contact, Target.bsuid):
        with pytest.raises(WatiValidationError) as refused:
            make("98765-43210 (Ada)")
        assert "98765" not in str(refused.value)
