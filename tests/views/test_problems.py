"""The banner that says what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QApplication, QLabel

from breastai_gui.views.problems import ProblemBanner

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def words(banner: ProblemBanner) -> str:
    return "\n".join(label.text() for label in banner.findChildren(QLabel) if label.isVisibleTo(banner))


def test_the_newest_sentence_is_shown_and_the_older_comes_back(qtbot: QtBot) -> None:
    banner = ProblemBanner()
    qtbot.addWidget(banner)
    assert not banner.isVisibleTo(banner.window())
    banner.show_problem("IM1 is <b>damaged</b>.", "in load 41")
    banner.show_problem("The disk is full.")
    assert "✖ The disk is full." in words(banner)
    assert "1 more" in words(banner)
    banner.close_newest()
    assert "✖ IM1 is <b>damaged</b>." in words(banner)
    assert "in load 41" not in words(banner)
    banner.copy()
    assert QApplication.clipboard().text().startswith("IM1 is <b>damaged</b>.\nin load 41\nBreastAI ")
    banner.close_newest()
    assert banner.isHidden()


def test_the_same_sentence_twice_is_one(qtbot: QtBot) -> None:
    banner = ProblemBanner()
    qtbot.addWidget(banner)
    banner.show_problem("The disk is full.")
    banner.show_problem("The disk is full.")
    banner.close_newest()
    assert banner.isHidden()
