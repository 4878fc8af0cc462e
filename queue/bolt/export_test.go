package bolt

// Unsynced opens a store that no power cut would spare.
func Unsynced(dir string) Options { return Options{Dir: dir, Ballast: -1, noSync: true} }
