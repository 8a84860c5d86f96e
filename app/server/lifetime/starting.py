"""What is seen to before PyTorch is imported and a model loaded, which takes long."""

import sys

from app.server.lifetime.address import check_address
from app.server.lifetime.ending import Ending
from app.server.lifetime.errors import StartError
from app.server.lifetime.temporary import claim_folder
from app.settings import Settings


def prepare(ending: Ending, settings: Settings) -> None:
    """See that the page can be served at its address, and give the process a folder for its temporary files.

    The folder is removed at the `ending`. Ends the program with one sentence if either cannot be.
    """
    try:
        check_address(settings.host, settings.port)
        folder = claim_folder()
    except StartError as error:
        print(f"app.py: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    ending.do_last(folder.remove)
    folder.use(keep_compiled=settings.compile)
