public import Imaging

/// Reads and decodes a picture: a path, a `file:`, `http:` or `https:` URL, or a `data:` URL.
///
/// Pixels are those of Pillow's `ImageOps.exif_transpose(Image.open(source)).convert("RGB")`, byte for byte, which is what
/// transformers' `load_image` gives.
///
/// - Throws: ``ImageError`` saying what is wrong with the picture or its address, before anything large is allocated.
public func loadImage(_ source: String, limits: ImageLimits = .init()) async throws -> RGBImage {
    try await loadImage(ImageSource(source), limits: limits)
}

/// Reads and decodes a picture from any source, such as bytes already in memory.
public func loadImage(_ source: ImageSource, limits: ImageLimits = .init()) async throws -> RGBImage {
    try await ImageLoader(limits: limits).load(source, index: 0)
}
