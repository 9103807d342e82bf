"""`python -m tests.browser.screenshot PAGE.html OUT.png`: a picture of a page, for the documentation."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.browser.chromium import find_chromium, take_screenshot


def main() -> None:
    """Read the command line and take the picture."""
    parser = argparse.ArgumentParser(description="Take a picture of a page with headless Chromium.")
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1280, help="of the window, in pixels")
    parser.add_argument(
        "--height", type=int, default=1600, help="of the window, in pixels; 0: the whole page"
    )
    parser.add_argument("--dark", action="store_true", help="as a reader who prefers dark pages sees it")
    arguments = parser.parse_args()
    if not find_chromium():
        parser.error("Chromium is not installed")
    take_screenshot(arguments.page, arguments.picture, arguments.width, arguments.height, dark=arguments.dark)


if __name__ == "__main__":
    main()
