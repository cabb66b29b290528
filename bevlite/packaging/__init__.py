"""From a finished run to a folder that runs on a board: models, library, scripts, samples, documents, promises."""
