"""Opens a page in headless Chromium and does to it what a person would, through real input events.

    flame_browser.py PAGE.html STEP...      exit 77 when there is no Chromium that starts

    load=FRAGMENT     (again) with that fragment of the address; PAGE itself is loaded first
    eval=EXPRESSION   prints its value as one line of JSON
    click=NAME        the mouse, in the middle of the box of that name
    hover=NAME        the same without the button
    press=SELECTOR    the mouse, on an element of the page
    type=TEXT         on the keyboard, where the focus is
    key=NAME          "/", "Escape", "ArrowDown", ...
    media=print       as if printed; screen: no more
    shot=FILE.png     a picture

Ends with the line "requests N errors N": what was asked of any network, what the console complained of.
Python's standard library and the DevTools protocol over two pipes; no port is opened.
"""
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import base64

SECONDS = 60


class Browser:
    def __init__(self, program, profile, size):
        down, self.to = os.pipe()
        self.back, up = os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in (down, up)]

        def wire():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
             "--disable-background-networking", "--disable-dev-shm-usage", "--force-device-scale-factor=1",
             "--hide-scrollbars", "--no-sandbox",  # of no use to root, of none in many containers; the page is a test's
             f"--user-data-dir={profile}", f"--window-size={size}", "about:blank"],
            close_fds=False, preexec_fn=wire, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        for fd in (down, up, *high):
            os.close(fd)
        os.set_blocking(self.back, False)
        self.buffer, self.number, self.session = b"", 0, None
        self.requests, self.errors, self.loaded = [], [], 0
        self.deadline = time.monotonic() + SECONDS

    def message(self):
        while b"\0" not in self.buffer:
            if time.monotonic() > self.deadline:
                sys.exit("no answer from the browser")
            try:
                piece = os.read(self.back, 1 << 20)
            except BlockingIOError:
                time.sleep(0.005)
                continue
            if not piece:
                sys.exit("the browser ended")
            self.buffer += piece
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", {}).get("description", "?"))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Page.loadEventFired":
            self.loaded += 1

    def call(self, method, **params):
        self.number += 1
        call = {"id": self.number, "method": method, "params": params}
        if self.session:
            call["sessionId"] = self.session
        os.write(self.to, json.dumps(call).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]
            self.note(message)

    def open(self):
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(domain + ".enable")

    def load(self, url):
        # Only the fragment differs from what is there: that alone would load nothing.
        self.call("Page.navigate", url="about:blank")
        seen = self.loaded
        self.call("Page.navigate", url=url)
        while self.loaded == seen or self.eval("document.readyState") != "complete":
            self.note(self.message()) if self.loaded == seen else None
        self.settle()

    def settle(self):
        """Zooming takes 160 ms, and what is drawn is drawn in the next frame."""
        self.eval("new Promise((done) => setTimeout(() => requestAnimationFrame(() => done(0)), 260))")

    def eval(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            sys.exit(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def mouse(self, at, what, click):
        if at is None:
            sys.exit(f"there is no {what}")
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=at["x"], y=at["y"])
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.call("Input.dispatchMouseEvent", type=kind, x=at["x"], y=at["y"], button="left", clickCount=1)
        self.settle()

    def key(self, name):
        codes = {"Enter": 13, "Escape": 27, "Backspace": 8, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
                 "ArrowDown": 40}
        event = {"key": name, "windowsVirtualKeyCode": codes.get(name, ord(name[0].upper()))}
        if name not in codes:
            event["text"] = name
        self.call("Input.dispatchKeyEvent", type="keyDown", **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)
        self.settle()

    def end(self):
        self.process.kill()
        self.process.wait()


def step(browser, url, what, value):
    centre = ("(() => { const e = document.querySelector(%s); if (!e) return null; const r = e.getBoundingClientRect();"
              "return { x: r.left + r.width / 2, y: r.top + r.height / 2 }; })()")
    if what == "load":
        browser.load(url + "#" + value)
    elif what == "eval":
        print(json.dumps(browser.eval(value), ensure_ascii=True), flush=True)
    elif what in ("click", "hover"):
        browser.mouse(browser.eval(f"godiag.box({json.dumps(value)})"), value, what == "click")
    elif what == "press":
        browser.mouse(browser.eval(centre % json.dumps(value)), value, True)
    elif what == "type":
        browser.call("Input.insertText", text=value)
        browser.settle()
    elif what == "key":
        browser.key(value)
    elif what == "media":
        browser.call("Emulation.setEmulatedMedia", media=value)
        browser.eval(f"dispatchEvent(new Event('{'before' if value == 'print' else 'after'}print'))")
        browser.settle()
    elif what == "shot":
        with open(value, "wb") as file:
            file.write(base64.b64decode(browser.call("Page.captureScreenshot", format="png")["data"]))
    else:
        sys.exit(f"there is no step {what}")


def main():
    page, steps = sys.argv[1], sys.argv[2:]
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for path in map(shutil.which, names) if path), None)
    if program is None:
        print("no Chromium is installed")
        sys.exit(77)
    profile = tempfile.mkdtemp(prefix="godiag-browser-")
    browser = Browser(program, profile, os.environ.get("SIZE", "1400,900"))
    url = "file://" + os.path.abspath(page)
    try:
        try:
            browser.open()
        except SystemExit as why:
            print(f"{program} does not start: {why}")
            sys.exit(77)
        browser.load(url)
        for text in steps:
            what, value = text.split("=", 1)
            step(browser, url, what, value)
        print(f"requests {len(browser.requests)} errors {len(browser.errors)}", *browser.errors, *browser.requests)
    finally:
        browser.end()
        shutil.rmtree(profile, ignore_errors=True)


main()
