"""Nothing comes in; a program is graded with three inputs, by plain calls without `await`."""

from kernel_runner.client import ProgramFailed, sync

PROGRAM = """\
number = int(input("A number? "))
print(number, "squared is", number**2)
"""
TESTS = {"3": "9", "-4": "16", "five": "25"}


def main() -> None:
    with sync.launch("python") as kernel:
        kernel.upload("main.py", PROGRAM)
        for given, wanted in TESTS.items():
            result = kernel.run(stdin=f"{given}\n".encode(), limits={"wall_s": 10}).result()
            try:
                is_right = result.check().stdout.split()[-1] == wanted
                print(f"{given}: {'right' if is_right else 'wrong'}")
            except ProgramFailed as error:
                print(f"{given}: {error.stderr.splitlines()[-1]}")


if __name__ == "__main__":
    main()
