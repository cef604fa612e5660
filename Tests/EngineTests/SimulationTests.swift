import Engine
import Testing

/// 100,000 steps of an engine whose device is stubbed out; see ``Simulation``.
@Suite struct SimulationTests {
    private static func settings(_ steps: Int) -> [Simulation.Setting] {
        var settings: [Simulation.Setting] = []
        for isLate in [false, true] {
            // Too few blocks, so that sequences are preempted all the time; enough of them; and no caches at all.
            for (blocks, cacheBytes, caches) in [(30, 96, true), (120, 1 << 16, true), (40, 0, false)] {
                var setting = Simulation.Setting()
                setting.seed = UInt64(settings.count + 1)
                setting.isLate = isLate
                setting.steps = steps
                setting.blocks = blocks
                setting.cacheBytes = cacheBytes
                setting.caches = caches
                settings.append(setting)
            }
        }
        return settings
    }

    @Test(arguments: settings(16_700)) func whateverHappensEverythingIsRight(setting: Simulation.Setting) throws {
        let simulation = try Simulation(setting)
        try simulation.run()
        #expect(simulation.wrong == nil)
        let counts = simulation.counts
        #expect(counts.submitted == counts.finished + counts.cancelled + counts.overdue + counts.failed)
        // It met what it is there for.
        #expect(counts.finished > setting.steps / 4)
        for count in [counts.cancelled, counts.overdue, counts.failed, counts.suspensions] { #expect(count > 0) }
        #expect(setting.blocks > 40 || (counts.preemptions > 100 && counts.refused > 100))
        if setting.caches {
            #expect(counts.prefixHits > setting.steps && counts.imageHits > 100)
        } else {
            #expect(counts.prefixHits == 0)
        }
    }
}
