import Imaging
import Testing

/// Windows of resized pictures.
@Suite struct ResizeTargetTests {
    /// As transformers' `center_crop` and the padding of LLaVA-NeXT round: `int((w - crop) / 2)` and `divmod(target - w, 2)`.
    @Test func windowsAreCentred() {
        let size = ResizeTarget(width: 15, height: 8)
        #expect(size.isWhole)
        let crop = size.centered(width: 10, height: 8)
        #expect(crop.left == 2 && crop.top == 0 && !crop.isWhole)
        let border = size.centered(width: 20, height: 13)
        #expect(border.left == -2 && border.top == -2)
    }

    @Test func windowTakesPixelsOrTheFill() throws {
        let image = try RGBImage(width: 2, height: 2, pixels: (1...12).map { UInt8($0) })
        let window = image.window(left: -1, top: 1, width: 4, height: 2, fill: [7, 8, 9])
        #expect(window.width == 4 && window.height == 2)
        #expect(window.pixels == [7, 8, 9, 7, 8, 9, 10, 11, 12, 7, 8, 9] + [7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 9])
        #expect(image.window(left: 5, top: 0, width: 1, height: 1).pixels == [0, 0, 0])
        #expect(image.window(left: 0, top: 0, width: 2, height: 2) == image)
    }

    @Test func resizingToATargetIsResizingAndThenTheWindow() throws {
        let image = try RGBImage(width: 9, height: 6, pixels: (0..<162).map { UInt8($0) })
        let target = ResizeTarget(width: 12, height: 4).centered(width: 6, height: 7)
        let whole = resize(image, width: 12, height: 4, filter: .bicubic)
        #expect(resize(image, to: target, filter: .bicubic) == whole.window(left: 3, top: -1, width: 6, height: 7))
    }
}
