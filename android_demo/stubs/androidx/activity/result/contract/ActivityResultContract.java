// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package androidx.activity.result.contract;

public abstract class ActivityResultContract<I, O> {
}
