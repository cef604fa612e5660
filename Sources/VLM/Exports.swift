// Public types that live below this module are part of its API: configurations and responses, images, values
// to extract.
@_exported public import Engine
@_exported public import Extraction
@_exported public import Guidance
@_exported public import Imaging
