// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.os;

public class Handler {
}
