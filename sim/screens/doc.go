// Package screens drives the dispatcher's desk and the officer's terminal in a
// real browser against the district that `sim up` runs. It has no code but its
// test and the script that this gives to the browser.
package screens
