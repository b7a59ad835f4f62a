"""What mkdocs.yml cannot say: URLs from pyproject.toml, and links to files beside docs/."""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ROOT = Path(__file__).parents[1]
# A link to a file of the repository: it leaves docs/.
_OUTSIDE = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")


def _urls() -> dict[str, str]:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {name.lower(): url.rstrip("/") for name, url in project.get("urls", {}).items()}


def on_config(config: Any) -> Any:
    """Set the URLs of the site and of the repository, where a maintainer has filled them in."""
    urls = _urls()
    if "documentation" in urls:
        config.site_url = urls["documentation"] + "/"
    if "repository" in urls:
        config.repo_url = urls["repository"]
        config.repo_name = "Source"
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001
    """Point links that leave docs/ to the repository; without its URL their text stays."""
    repository = _urls().get("repository")

    def absolute(link: re.Match[str]) -> str:
        text, path, fragment = link.groups()
        source = posixpath.join("docs", page.file.src_uri)
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if target.startswith("docs/"):
            return link.group()
        if not (_ROOT / target).exists():
            raise FileNotFoundError(f"{source} links to {target}, which does not exist")
        if repository is None:
            return text
        return f"[{text}]({repository}/blob/main/{target}{fragment or ''})"

    return _OUTSIDE.sub(absolute, markdown)
