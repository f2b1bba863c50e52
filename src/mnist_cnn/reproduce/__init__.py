"""From a result back to its source: provenance, resumable jobs, rebuilding, comparison."""
