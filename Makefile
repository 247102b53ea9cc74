.PHONY: check test slow bench
check: ; ruff check . && ruff format --check . && mypy && lint-imports
test:  ; python -m pytest
slow:  ; python -m pytest -m slow
bench: ; python -m tests.bench && python -m tests.sweep_bench
