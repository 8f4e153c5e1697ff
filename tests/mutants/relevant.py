"""Which tests are to see a change of which file."""

from fnmatch import fnmatch

# What is run for a file: the first pattern that fits; the quickest test file first.
ENGINE = ["test_state", "test_engine", "test_properties", "test_graph", "test_kernel"]
SWEEP = ["test_sweep", "test_sweep_processes", "test_sweep_dask", "test_search"]
PAGES = ["test_page_lab", "test_page_sweep", "test_page_faults", "test_page_points"]
TESTS = {
    "utils/engine/convolution.py": ["test_convolution", *ENGINE],
    "utils/engine/layers.py": ["test_layers", *ENGINE],
    "utils/engine/penalties.py": ["test_penalties", *ENGINE],
    "utils/engine/runs.py": ["test_runs", *ENGINE],
    "utils/engine/training.py": ["test_state", "test_runs", *ENGINE[1:]],
    "utils/engine/*": [*ENGINE, "test_runs", "test_reproducibility"],
    "utils/sweep/cache.py": ["test_cache", "test_sweep"],
    "utils/sweep/cluster.py": ["test_sweep_dask"],
    "utils/sweep/search.py": ["test_search"],
    "utils/sweep/*": [*SWEEP, "test_cache"],
    "utils/lab/knobs.py": ["test_lab", "test_views", "test_sphinx_ext"],
    "utils/lab/jobs.py": ["test_kernel", "test_lab"],
    "utils/lab/kernel.py": ["test_kernel", "test_lab"],
    "utils/lab/views.py": ["test_views", "test_lab", "test_sphinx_ext"],
    "utils/lab/*": ["test_lab", "test_views", "test_kernel", "test_sphinx_ext"],
    "web/trainer/gpu*": ["test_webgpu"],
    "web/trainer/sweeps.js": ["test_pool", "test_webgpu"],
    "web/trainer/runs.js": ["test_pool", "test_page_lab"],
    "web/trainer/worker.js": ["test_pool", "test_webgpu"],
    "web/trainer/*": ["test_trainer", "test_pool", "test_webgpu"],
    "web/lab/address.js": ["test_address", *PAGES],
    "web/lab/engines/kernel.js": ["test_kernel_js", "test_jupyterlab"],
    "web/lab/engines/*": ["test_pool", *PAGES, "test_webgpu"],
    "web/lab/widget.js": ["test_widget_js", "test_jupyterlab"],
    "web/lab/points.js": ["test_page_points", *PAGES[:3]],
    "web/lab/sweep.js": ["test_page_sweep", "test_page_lab", *PAGES[2:]],
    "web/lab/*": [*PAGES, "test_widget_js", "test_page_layout"],
}


def files_for(path: str) -> list[str]:
    """Return the files of tests for a source file, in their order."""
    names = next(tests for pattern, tests in TESTS.items() if fnmatch(path, pattern))
    return [f"tests/{name}.py" for name in names]
