"""The README of the distribution: its links lead to the site and the repository.

On GitHub they lead to files. Elsewhere they need URLs, which come from ``[project.urls]`` of
pyproject.toml; where a URL is not filled in, the text of a link stays without it.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"\[([^\]]*)\]\((?!https?://|#)([^)#\s]+)(#[^)\s]*)?\)")


class ReadmeHook(MetadataHookInterface):
    """Replaces relative links in the README."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the README of the metadata."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": with_absolute_links(text, metadata.get("urls", {})),
        }


def with_absolute_links(text: str, urls: dict[str, str]) -> str:
    """Return Markdown whose relative links are URLs, or plain text where there is no URL."""
    named = {name.lower(): url.rstrip("/") for name, url in urls.items()}

    def absolute(link: re.Match[str]) -> str:
        words, path, fragment = link.groups()
        page = re.fullmatch(r"docs/(.*?)(?:index)?\.md", path)
        if page and "documentation" in named:
            folder = f"{page[1]}/" if page[1] and not page[1].endswith("/") else page[1]
            target = f"{named['documentation']}/{folder}"
        elif "repository" in named:
            target = f"{named['repository']}/blob/main/{path}"
        else:
            return words
        return f"[{words}]({target}{fragment or ''})"

    return _LINK.sub(absolute, text)
