// Package damage is a rig: the shipping fengsui program starts on spools that
// were damaged in every way that a flash card knows, and a ledger of what was in
// them says what it owes: to be up within 30 s, to have saved every event whose
// bytes still hold, to believe no other, and to say what happened.
//
// Nothing is cut or made to fail while it runs: packages powercut and diskfault
// do that.
package damage
