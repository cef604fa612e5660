import Imaging
import JSON
import TestKit
import Testing

/// Whole preprocessing strategies against transformers' image processors: every bit of `pixel_values`.
@Suite struct FamilyStrategyTests {
    @Test func qwenPatchesEqualTransformers() throws {
        for entry in try Manifest.section("qwen") {
            let input = try entry.requireInts("input"), patch = try entry.requireInt("patch")
            let image = try pattern(width: input[0], height: input[1], seed: entry.requireInt("seed"))
            let size = try smartResize(
                height: input[1], width: input[0], factor: 2 * patch, minPixels: entry.requireInt("minPixels"),
                maxPixels: entry.requireInt("maxPixels"))
            let normalization =
                patch == 16
                ? Normalization(mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5])
                : Normalization(mean: Normalization.clipMean, std: Normalization.clipStd)
            let resized = resize(image, width: size.width, height: size.height, filter: .bicubic)
            let patches = qwenPatches(resized, patch: patch, normalization: normalization)
            #expect([1, size.height / patch, size.width / patch] == (try entry.requireInts("grid")))
            #expect(patches.count == (try entry.requireInts("rows").reduce(1, *)))
            #expect(sha256(littleEndian(patches)) == (try entry.requireString("sha256")), "\(input)")
        }
    }

    @Test func smartResizeEqualsTransformers() throws {
        for entry in try Manifest.section("smartResize") {
            let v = try #require(entry.arrayValue).map { try #require($0.intValue) }
            let size = try smartResize(height: v[0], width: v[1], factor: v[2], minPixels: 3136, maxPixels: 1_003_520)
            #expect([size.height, size.width] == [v[3], v[4]], "\(v[1])x\(v[0]), factor \(v[2])")
        }
    }

    @Test func smartResizeRefusesExtremeShapes() throws {
        #expect(throws: ImageError.self) { try smartResize(height: 1, width: 201) }
        #expect(try smartResize(height: 1, width: 200).height == 28)
    }

    @Test func internVLTilesEqualBothForms() throws {
        for entry in try Manifest.section("internvl") {
            let input = try entry.requireInts("input"), size = try entry.requireInt("size")
            let image = try pattern(width: input[0], height: input[1], seed: entry.requireInt("seed"))
            for (form, key) in [(InternVLTiling.Form.huggingFace, "huggingFace"), (.original, "original")] {
                let tiling = InternVLTiling(
                    form: form, tileWidth: size, tileHeight: size, minTiles: try entry.requireInt("minTiles"),
                    maxTiles: try entry.requireInt("maxTiles"))
                let grid = tiling.grid(width: input[0], height: input[1])
                #expect([grid.columns, grid.rows] == (try entry.requireInts("grid")), "\(input)")
                #expect(tiling.tileCount(width: input[0], height: input[1]) == (try entry.requireInt("count")))
                let mean = Normalization.imageNetMean, std = Normalization.imageNetStd
                let normalization = form == .original ? .unfused(mean: mean, std: std) : Normalization(mean: mean, std: std)
                let values = tiling.tiles(image).flatMap { planar($0, normalization) }
                #expect(sha256(littleEndian(values)) == (try entry.requireString(key)), "\(input), \(key)")
            }
        }
    }

    @Test func tileGridsEqualTransformers() throws {
        for entry in try Manifest.section("tileGrids") {
            let v = try #require(entry.arrayValue).map { try #require($0.intValue) }
            let tiling = InternVLTiling(form: .huggingFace, tileWidth: 448, tileHeight: 448, maxTiles: v[2])
            let grid = tiling.grid(width: v[0], height: v[1])
            #expect([grid.columns, grid.rows] == [v[3], v[4]], "\(v[0])x\(v[1]), at most \(v[2])")
        }
    }
}
