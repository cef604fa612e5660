import Models
import TestKit
import Testing

/// Vision passes that are recorded and replayed see the images of the day.
@Suite struct RecordedPassTests {
    @Test(arguments: ["internvl", "internvl_chat-qwen2", "llava_next", "smolvlm"]) func replayedTowersEncodeTheirOwnImages(
        _ name: String
    ) throws {
        let golden = try Golden(name)
        let plain = ReferenceBackend(), replaying = ReplayingBackend()
        let want = try ModelRunner(
            try ModelRegistry.load(try golden.open(), backend: plain), backend: plain, workspaceBytes: 16 << 20)
        let runner = try ModelRunner(
            try ModelRegistry.load(try golden.open(), backend: replaying), backend: replaying, workspaceBytes: 16 << 20)
        let images = try golden.cases.flatMap { try $0.processedImages(want.model) }
        #expect(Set(images.map { $0.dimensions[0] }).count > 1, "images of one number of tiles do not test much")
        // Thrice: for real, recorded, replayed; alone, then several images of different numbers of tiles in one pass.
        for _ in 0..<3 {
            for image in images {
                let features = try want.encode([image]).flatMap { try want.download($0) }
                #expect(try runner.encode([image]).flatMap { try runner.download($0) } == features)
            }
            let features = try want.encode(images).flatMap { try want.download($0) }
            #expect(try runner.encode(images).flatMap { try runner.download($0) } == features)
        }
        #expect(replaying.replays >= 2 * images.count)
    }
}
