"""An error of a cell in; a sentence about what may help out, where that is known."""

from __future__ import annotations

import sys

OTHER_NAMES = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cairo": "pycairo",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "PyMuPDF",
    "git": "GitPython",
    "googleapiclient": "google-api-python-client",
    "IPython": "ipython",
    "jwt": "PyJWT",
    "ldap": "python-ldap",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "usb": "pyusb",
    "wx": "wxPython",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}
"""What is imported by another name than it is installed by."""

SAME_NAMES = """
aiohttp altair anthropic boto3 bokeh celery click cryptography cython dask django duckdb
fastapi flask gensim geopandas h5py httpx huggingface_hub hypothesis jax jedi jinja2 joblib
jsonschema keras langchain lightgbm lxml matplotlib msgpack msgspec mypy nbformat networkx
nltk numba numpy openai openpyxl orjson pandas paramiko plotly polars psutil pyarrow pydantic
pygments pymongo pytest redis regex requests rich ruff scipy seaborn selenium shapely spacy
sqlalchemy statsmodels sympy tabulate tensorflow torch torchvision tornado tqdm transformers
typer uvicorn xgboost xlrd
"""
"""What is well known, and installed by the name that it is imported by."""


def about(error: BaseException) -> str | None:
    """A sentence about this error; None where nothing is known."""
    if isinstance(error, SyntaxError):
        return _about_syntax(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _about_module(error.name.partition(".")[0])
    return None


def _about_module(name: str) -> str | None:
    if name in sys.modules:  # the package is there; a part of it is not
        return None
    package = OTHER_NAMES.get(name) or (name if name in SAME_NAMES.split() else None)
    if package is None:
        return None
    return f"{name} is not installed; install({package!r}) brings it into this session"


def _about_syntax(error: SyntaxError) -> str | None:
    line = (error.text or "").strip()
    if line[:1] not in ("%", "!") and line[-1:] != "?":
        return None
    return "this is for IPython; the plain shell knows %pip install alone (--query-shell ipython)"
