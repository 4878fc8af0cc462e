// Package queuetest holds what every queue.Store must pass, and a store in
// memory for the tests of those who use one.
//
// Run is for any store. RunDurable is for those that keep a folder: it closes
// them, opens them again, and takes a copy of the folder in the middle of
// their life, which is what kill -9 leaves behind.
package queuetest
