import Engine
import Layers
import Models
import Tensors
import Testing

struct WorkEstimateTests {
    /// Each count takes a workspace without memory; their sizes must not add up to an overflow.
    @Test func manyCountsAreFine() throws {
        let model = LoadedModel(
            family: "Echo", language: EchoModel(), vision: nil, imageProcessor: nil, promptRule: nil, eosTokenIDs: [])
        let work = WorkEstimate(model: model, weightType: .float32, cacheType: .float32)
        for _ in 0..<100 { #expect(try work.language(tokens: 3, cached: 2).operations >= 0) }
    }
}
