"""How the web app is started."""

import sys
from pathlib import Path

_THEME = {
    "theme.light.primaryColor": "#0b5a94",
    "theme.dark.primaryColor": "#7cc1f5",
    "theme.light.backgroundColor": "#ffffff",
    "theme.dark.backgroundColor": "#0e1218",
    "theme.light.secondaryBackgroundColor": "#f6f7f9",
    "theme.dark.secondaryBackgroundColor": "#161b22",
    "theme.light.textColor": "#1c2127",
    "theme.dark.textColor": "#e4e7eb",
    "theme.baseRadius": "5px",
    "theme.showWidgetBorder": "true",
}
_QUIET = {
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "server.headless": "true",
    "logger.hideWelcomeMessage": "true",
    "runner.magicEnabled": "false",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
}


def command(
    store: Path | str,
    host: str = "127.0.0.1",
    port: int = 8501,
    notes: str | None = None,
    api: str | None = None,
    *,
    read_only: bool = False,
) -> list[str]:
    """The command that serves the web app of a store until it is stopped.

    Args:
        store: the store's folder.
        host: address to listen on; by default this machine alone.
        port: port to listen on.
        notes: URL of the notes' database; None for the store's own.
        api: where the query API answers, for links to JSON; None where it is not served.
        read_only: whether notes can only be read.
    """
    settings = {**_QUIET, **_THEME, "server.address": host, "server.port": str(port)}
    flags = [f"--{name}={value}" for name, value in settings.items()]
    own = ["--store", str(store)]
    own += ["--notes", notes] if notes else []
    own += ["--api", api] if api else []
    own += ["--read-only"] if read_only else []
    main = str(Path(__file__).with_name("main.py"))
    return [sys.executable, "-m", "streamlit", "run", main, *flags, "--", *own]
