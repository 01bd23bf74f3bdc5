// Package fuzz is a rig: it finds every fuzz target of the module and runs each
// for its count, one after another, in a process whose memory the kernel
// bounds. It fails when a target does, when one takes more memory than that, or
// when something that comes from outside has no target.
//
// It has no targets of its own; they stand beside what they test, with their
// corpora. An input that fails is left in the corpus of its target, as the go
// command does. The short count is without coverage guidance, for speed.
package fuzz
