"""Tables of answers as hospitals write them; a cell that could mean two things is said, never guessed."""

from __future__ import annotations

import openpyxl
import pytest

from breastai_gui.services.labels_table import Columns, TableError, ki67_may_be_fractions, labels_of, propose_columns, read_table
from breastai_model.case import Labels


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_csv_in_every_usual_dress(tmp_path, delimiter, encoding):
    path = tmp_path / "labels.csv"
    path.write_text(delimiter.join(("Patient ID", "LNM", "Grade")) + "\r\n" + delimiter.join(("病人 1", "yes", "3")) + "\r\n\r\n", encoding)
    table = read_table(path)
    assert table.header == ("Patient ID", "LNM", "Grade")
    assert table.rows == (("病人 1", "yes", "3"),)


def test_excel_numbers_stay_the_text_that_a_person_sees(tmp_path):
    book = openpyxl.Workbook()
    for row in (["patient", "lnm", "ki67"], [12, True, 14.5], ["007", None, 20.0]):
        book.active.append(row)
    book.save(tmp_path / "labels.xlsx")
    assert read_table(tmp_path / "labels.xlsx").rows == (("12", "yes", "14.5"), ("007", "", "20"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "no row below"),
        ("a.csv", b"patient\n1\n", "one column only"),
        ("a.csv", b"patient,lnm\n", "no row below"),
        ("a.csv", b"PK\x00\x00\x00", "not a text table"),
        ("a.xlsx", b"not a zip", "not an Excel file"),
    ],
)
def test_a_file_that_is_no_table_is_said_in_one_sentence(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=sentence):
        read_table(tmp_path / name)


def test_a_missing_table_is_said(tmp_path):
    with pytest.raises(TableError, match="cannot be read"):
        read_table(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (("patient", "lymph_node_metastasis", "grade", "ki67"), Columns(0, 1, 2, 3)),
        (("Nr", "Ki-67 (%)", "Patient-ID", "Histological Grade", "LNM"), Columns(2, 4, 3, 1)),
        (("ID", "high_grade", "high_ki67", "age"), Columns(0, None, 1, 2, high_grade=True, high_ki67=True)),
        (("a", "b"), Columns(None, None, None, None)),
    ],
)
def test_columns_are_proposed_by_name(header, columns):
    assert propose_columns(header) == columns


@pytest.mark.parametrize(
    ("lnm", "grade", "ki67", "labels"),
    [
        ("yes", "3", "20", Labels(True, True, True)),
        ("N0", "G2", "19.9 %", Labels(False, False, False)),
        ("+", "III", "12,5", Labels(True, True, False)),
        ("", "n/a", "?", Labels(None, None, None)),
        ("0", "grade 1", "<15", Labels(False, False, False)),
        ("1", "3.0", ">30", Labels(True, True, True)),
    ],
)
def test_cells_become_labels(lnm, grade, ki67, labels):
    assert labels_of(("p", lnm, grade, ki67), Columns(0, 1, 2, 3), 20) == (labels, ())


@pytest.mark.parametrize(("lnm", "grade", "ki67"), [("maybe", "", ""), ("", "4", ""), ("", "", "120"), ("", "", "<30"), ("", "0", "")])
def test_a_cell_that_cannot_be_understood_is_named_and_its_label_is_missing(lnm, grade, ki67):
    labels, problems = labels_of(("p", lnm, grade, ki67), Columns(0, 1, 2, 3), 20)
    assert labels == Labels(None, None, None)
    assert len(problems) == 1
    assert (lnm or grade or ki67) in problems[0]


def test_a_one_means_low_grade_in_one_column_and_high_grade_in_another():
    assert labels_of(("p", "1", "1"), Columns(0, None, 1, 2), 20)[0] == Labels(None, False, False)
    assert labels_of(("p", "1", "1"), Columns(0, None, 1, 2, high_grade=True, high_ki67=True), 20)[0] == Labels(None, True, True)


def test_shares_instead_of_percentages_are_noticed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("patient,ki67\na,0.2\nb,0.35\n", "utf-8")
    table = read_table(path)
    assert ki67_may_be_fractions(table, propose_columns(table.header))
    path.write_text("patient,ki67\na,0.2\nb,35\n", "utf-8")
    table = read_table(path)
    assert not ki67_may_be_fractions(table, propose_columns(table.header))
