"""Write the report of a result that holds no texts, with those of the file of questions it was measured on."""

from pathlib import Path

from pydantic import ValidationError

from dola_core.errors import first_mistake
from dola_core.files.writing import folder_in_use, write_atomically
from dola_core.layer_search.questions.dataset import Format
from dola_core.layer_search.questions.file import QuestionFile
from dola_core.layer_search.report.html_report import REPORT, report_writer
from dola_core.layer_search.result import SearchResult


def write_report_with_texts(result_file: Path, data: Path, format: Format, out: Path) -> Path:
    """Write the report into the folder `out`, and return its path.

    Raises `ValueError` with one sentence if the result cannot be read or is of another file than `data`, `DatasetError`
    if that cannot be read, and `FileWriteError` or `FolderInUseError` if `out` cannot be written to.
    """
    result = _read_result(result_file)
    questions = QuestionFile.read(data)
    if questions.sha256 != result.data.sha256:
        raise ValueError(
            f"{result_file} was measured on another file than {data}; give the {result.data.name} whose SHA-256 is "
            f"{result.data.sha256 or 'in the result, which has none'}."
        )
    shown = result.with_texts(questions.items(format, preamble=result.asked.preamble))
    with folder_in_use(out):
        write_atomically(out / REPORT, report_writer(shown))
    return out / REPORT


def _read_result(file: Path) -> SearchResult:
    try:
        return SearchResult.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or type(error).__name__}.") from error
    except ValidationError as error:
        raise ValueError(f"{file} is no result of a layer search ({first_mistake(error).text}).") from error
