// Package clocks is the rig of wrong clocks: a shipping device and a shipping
// centre in one bubble of fake time, with a system clock that can be set, a
// receiver that can lie, and power and a link that can be cut. Each case is a
// script with the order and the times that the desk must show for it.
//
// The judge is the bubble's own clock, which only the centre reads. The rig
// does not cut the power in the midst of a commit (powercut does), and a bubble
// has no drift: what a crystal may do is in the uncertainties that are judged.
package clocks
