PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
help:
	@echo "make check | test"
