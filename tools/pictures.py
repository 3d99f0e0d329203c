"""Take the pictures of docs/tour.md anew: tools/pictures.py, into docs/images/.

It starts the product with its demo studio in build/pictures, or in the folder that VIRAL_HOME
names, does in Chromium what the tour tells, and stops it again.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.async_api import Page, ViewportSize, async_playwright, expect

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
LARGEST_BYTES = 60_000
SIZE: ViewportSize = {"width": 1200, "height": 800}
WRITTEN_WITHIN_MS = 60_000
FLAGS = ("--no-sandbox", "--disable-gpu")


def keep(picture: bytes, name: str) -> None:
    """Store a picture with as many colours as fit into 60 kB."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    for colours in (256, 128, 64, 32, 16):
        stored = BytesIO()
        few = image.quantize(colours, dither=Image.Dither.NONE)
        few.save(stored, "PNG", optimize=True)
        if stored.tell() <= LARGEST_BYTES:
            break
    (IMAGES / f"{name}.png").write_bytes(stored.getvalue())
    print(f"{name}.png: {stored.tell():,} bytes, {colours} colours", flush=True)


async def visit(page: Page, address: str) -> None:
    """Open a page; a page of an error is no picture."""
    answer = await page.goto(address)
    if answer is None or not answer.ok:
        sys.exit(f"{address} was answered with {answer.status if answer else 'nothing'}.")


async def tour(page: Page, dashboard: str, studio: str) -> None:
    """Walk through the tour, a picture a stop."""

    async def shot(name: str) -> None:
        await page.mouse.move(0, 0)
        keep(await page.screenshot(), f"tour-{name}")

    await shot("home")
    await visit(page, f"{dashboard}/trends")
    await shot("trends")
    await generate(page, dashboard)
    await shot("generate")
    await page.locator("main a[href^='/concepts/']").first.click()
    await page.wait_for_url("**/concepts/*")
    await shot("concept")
    await visit(page, f"{dashboard}/performance")
    await lift(page, "Over time")
    await shot("performance")
    await visit(page, f"{dashboard}/reflexion")
    await shot("reflexion")
    await lift(page, "What changed, and why")
    await shot("changes")
    await page.get_by_role("button", name="Undo all").first.click()
    await shot("undo")
    await visit(page, f"{studio}/tables/scoring_adjustments")
    await shot("studio")


async def generate(page: Page, dashboard: str) -> None:
    """Order concepts, and wait until the worker has written them."""
    await visit(page, f"{dashboard}/generate")
    await page.get_by_label("How many").fill("3")
    await page.get_by_label("Category").select_option("food")
    await page.get_by_role("button", name="Generate", exact=True).click()
    written = page.locator("main a[href^='/concepts/']").first
    await expect(written).to_be_visible(timeout=WRITTEN_WITHIN_MS)


async def lift(page: Page, heading: str) -> None:
    """Scroll a heading to the top of the window."""
    await page.get_by_role("heading", name=heading).evaluate("each => each.scrollIntoView()")


@asynccontextmanager
async def product(environment: dict[str, str]) -> AsyncIterator[str]:
    """Run `viral up`, and give the link that signs in."""
    command = [sys.executable, "-m", "viral", "up"]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            if link := re.search(rb"http\S+/sign-in\?token=\S+", line):
                yield link[0].decode()
                break
        else:
            sys.exit("The product did not start; see above.")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


async def main() -> None:
    """Start the product, take the pictures, stop it."""
    port, studio_port = free_port(), free_port()
    environment = {
        "VIRAL_HOME": str(ROOT / "build" / "pictures"),
        **os.environ,
        "VIRAL_PORT": str(port),
        "VIRAL_STUDIO_PORT": str(studio_port),
    }
    dashboard, studio = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{studio_port}"
    IMAGES.mkdir(exist_ok=True)
    async with product(environment) as link, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(FLAGS)
        )
        page = await browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
        await visit(page, link)
        await page.get_by_role("button", name="Open the studio").click()
        await page.wait_for_url(f"{dashboard}/")
        await tour(page, dashboard, studio)
        await browser.close()


if __name__ == "__main__":
    if shutil.which("chromium") is None:
        sys.exit("The pictures need Debian's package chromium.")
    asyncio.run(main())
