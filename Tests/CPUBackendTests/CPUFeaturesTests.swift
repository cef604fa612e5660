import CPUBackend
import Foundation
import Testing

@Suite struct CPUFeaturesTests {
    @Test func usableCoresIsPositive() {
        #expect(CPUFeatures.usableCores >= 1)
    }

    @Test func bestInstructionSetIsAvailable() {
        #expect(InstructionSet.available.contains(.best))
        #expect(InstructionSet.available.contains(.scalar))
    }

    struct Group: Sendable {
        let files: [String: String]
        let membership: String
        let cores: Int?
    }

    @Test(arguments: [
        Group(files: ["cpu.max": "max 100000\n"], membership: "0::/\n", cores: nil),
        Group(files: ["cpu.max": "150000 100000\n"], membership: "0::/\n", cores: 2),
        Group(files: ["cpu.max": "20000 100000\n"], membership: "0::/\n", cores: 1),
        // The tightest of a group and its parents counts.
        Group(
            files: ["a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"], membership: "0::/a/b\n", cores: 3),
        Group(
            files: ["a/cpu.max": "300000 100000\n", "a/b/cpu.max": "200000 100000\n"], membership: "0::/a/b\n", cores: 2),
        // Version 1, with other controllers beside.
        Group(
            files: ["cpu/x/cpu.cfs_quota_us": "400000\n", "cpu/x/cpu.cfs_period_us": "100000\n"],
            membership: "5:memory:/y\n4:cpu,cpuacct:/x\n", cores: 4),
        Group(
            files: ["cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"], membership: "4:cpu:/\n", cores: nil),
        Group(files: ["cpu.max": "garbage"], membership: "nothing here", cores: nil),
        Group(files: [:], membership: "", cores: nil),
    ])
    func readsTheQuotaOfControlGroups(group: Group) throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("vlm-groups-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: root) }
        let mount = root.appendingPathComponent("mount")
        try FileManager.default.createDirectory(at: mount, withIntermediateDirectories: true)
        for (name, text) in group.files {
            let file = mount.appendingPathComponent(name)
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        let membership = root.appendingPathComponent("membership")
        try Data(group.membership.utf8).write(to: membership)
        #expect(CPUFeatures.quotaCores(mount: mount.path, membership: membership.path) == group.cores)
    }
}
